"""Caddy 2.6 or newer, without any plugin, as snippets that a Caddyfile imports.

Caddy sorts directives, and of a site's `handle` blocks only one is taken. Ours comes first whatever the site has:
the longest path pattern is tried first, and a pattern may be a placeholder. Ours is longer than anybody's path, and
stands for `*` where we answer. Seen in 2.6.2 and 2.11.7.

Go's regular expressions take microseconds for each character of a user agent where many names are looked for, so
they run only where one of the names' words was seen: words are looked up in sets. A `map` is read anew whenever its
placeholder is asked for, its plain rows one by one, and only their outputs may hold placeholders again. What is
asked for later goes into `vars`, early, while the path is still the one that was asked for.
"""

from collections.abc import Iterable, Iterator, Sequence

from noai_guard.core.model import Agent, HeaderField
from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.core.text import ascii_text
from noai_guard.core.user_agent_matcher import Token
from noai_guard.responses.documents import document_headers
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import go_regex, user_agent_regex
from noai_guard.targets.lookup_tables import (
    KNOWN,
    NONE,
    UNKNOWN_BOT,
    VERDICT_ALIASES,
    Tables,
    names_of,
    spellings,
)
from noai_guard.targets.plan import PathSet, TargetPlan, listed
from noai_guard.targets.target import Feature, File, Target, head, safe_document_files

_SPECIAL = {"{": "noai_open", "}": "noai_close", "\\": "noai_backslash", "`": "noai_backtick"}
"""Characters that mean something in a Caddyfile, or where Caddy replaces placeholders, and what is written for them."""

_SENT = "{http.request.header.User-Agent}"
_USER_AGENT = "{noai_user_agent}"
_READ = 1536
"""Characters of a user agent that are read; the judge reads as many bytes, but of the end of a long one too."""

_SEPARATORS = "()/;,.:+-_[]=&@"
"""What stands between words in most user agents. Others, and those with other signs, are read by expression."""

_LONGEST_SET = 60_000
"""Characters of one set of words: CEL reads expressions of 100,000 characters at most."""

_UNKNOWN = f"//{UNKNOWN_BOT}"

_BEFORE_ALL = "_whose_path_pattern_is_longer_than_those_of_the_site_so_that_caddy_tries_it_first"
_REFUSED = f"noai_refused{_BEFORE_ALL}"
_DOCUMENT = f"noai_document{_BEFORE_ALL}_of_all"


def quote(text: str) -> str:
    """A text as one word of a Caddyfile that means itself, also where Caddy replaces placeholders in it.

    Between back quotes nothing else has a meaning. Carriage returns and NUL are left out: Caddy drops them.
    """
    kept = text.replace("\r", "").replace("\0", "")
    return "`" + "".join(f"{{{_SPECIAL[found]}}}" if found in _SPECIAL else found for found in kept) + "`"


def _output(text: str) -> str:
    """A text as output of a map, which makes numbers and truth values of what looks so."""
    return f"{quote(text)[:-1]}{{noai_nothing}}`"


def _expression(pattern: str) -> str:
    """A regular expression as one word."""
    return f"`{go_regex.in_characters(pattern)}`"


def _row(pattern: str, output: str) -> str:
    return f"`~{_expression(pattern)[1:]} {output}"


def _anywhere(pattern: str) -> str:
    """Matches once, however often the pattern fits: a map puts all matches together."""
    return f"(?is)^.*?{pattern}"


def _cel(text: str) -> str:
    """A text between quotes in CEL, within an expression between back quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _in_class(character: str) -> str:
    return f"\\{character}" if character in "[]-" else character


def _sets(words: Sequence[str]) -> Iterator[str]:
    """Words as lists in CEL, each short enough."""
    size = max(1, _LONGEST_SET // max(map(len, words), default=1))
    for start in range(0, len(words), size):
        yield ",".join(f'"{word}"' for word in words[start : start + size])


def _map(source: str, names: Iterable[str], rows: Iterable[str]) -> Iterator[str]:
    yield f"\tmap {source} {' '.join(f'{{{name}}}' for name in names)} {{"
    yield from (f"\t\t{row}" for row in rows)
    yield "\t}"


def _matcher(name: str, *conditions: str) -> Iterator[str]:
    yield f"\t@{name} {{"
    yield from (f"\t\t{condition}" for condition in conditions)
    yield "\t}"


class _Config:
    """The parts of one plan's configuration."""

    def __init__(self, plan: TargetPlan, root: str) -> None:
        self.plan = plan
        self.root = root.rstrip("/")
        self.tables = Tables(plan)
        self.named: list[str] = []

    def caddyfile(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'caddy')}"
        yield "# In the Caddyfile, before the sites:"
        yield f"#     import {self.root}/noai-guard.caddy"
        yield "# In each site that noai-guard protects, below header lines of its own:"
        yield "#     import noai_guard"
        yield "#     handle_errors {"
        yield "#         import noai_guard_errors"
        yield "#     }"
        yield "# A site that has handle_errors already imports noai_guard_errors there."
        yield f"# Refused: {listed(agent for found in self.tables.harmful for agent in found.agents)}."
        yield "(noai_guard) {"
        yield from self._characters()
        yield from self._sight()
        yield from self._name()
        yield from self._agent()
        yield from self._facts()
        yield from self._decision()
        yield from self._declarations()
        yield from self._documents()
        yield from self._refusal()
        yield "}"
        yield "(noai_guard_errors) {"
        yield from self._fields("noai_error_declares")
        yield "}"

    def _characters(self) -> Iterator[str]:
        yield "\t# Characters that cannot stand in a text here."
        for character, name in _SPECIAL.items():
            source = f'"-{character}"' if character == "`" else f"`-{character}`"
            yield from _map(source, [name], ["`~^-(.)` ${1}"])
        yield from _map("-", ["noai_nothing"], ['- ""'])

    def _sight(self) -> Iterator[str]:
        """Matchers `@noai_named_1` ...: some word of a name stands in the user agent."""
        yield "\t# Whether a name may stand in the user agent: not where it consists of browsers' words."
        browser = go_regex.browser_expression(self.plan.anchors)
        odd = f"[^A-Za-z0-9 {''.join(map(_in_class, _SEPARATORS))}]"
        words = f"{_SENT}.lowerAscii()" + "".join(f'.replace("{found}"," ")' for found in _SEPARATORS)
        says_bot = "".join(
            f' || {_SENT}.lowerAscii().contains("{word}")'
            for word in user_agent_regex.BOT_WORDS * self.plan.asks_unknown_bots
        )
        for number, chosen in enumerate(_sets(sorted(go_regex.words_of(self.plan.wanted))), 1):
            yield (
                f"\t@noai_named_{number} expression `{_SENT}.size() > {_READ} "
                f'|| !({_SENT} + " ").matches({_cel(f"(?i){browser}")}) && ({_SENT}.matches({_cel(odd)}){says_bot} '
                f'|| {words}.split(" ").exists(w, w in [{chosen}]))`'
            )
            self.named.append(f"@noai_named_{number}")

    def _name(self) -> Iterator[str]:
        plan = self.plan
        yield "\t# The name that weighs most, as it was sent; a URL only where there is no name; or what it says it is."
        rows = [_row(rf"(?s)^(.{{1000}}.{{{_READ - 1000}}})", "${1}"), f"default {_SENT}"]
        yield from _map(_SENT, ["noai_user_agent"], rows)
        yield from _map(_USER_AGENT, ["noai_any_name"], [*map(_names, plan.tiers), 'default ""'])
        weights = [_names(tokens) for tier in plan.tiers for tokens in plan.weights(tier)]
        yield from _map(_USER_AGENT, ["noai_weightiest_name"], weights)
        yield from _map("{noai_any_name}", ["noai_name"], ['"" {noai_name_by_host}', "default {noai_weightiest_name}"])
        hosts = [_row(_anywhere(user_agent_regex.host_expression(token)), quote(_host(token))) for token in plan.hosts]
        yield from _map(_USER_AGENT, ["noai_host"], [_row(user_agent_regex.NO_URL, '""'), *hosts, 'default ""'])
        others = [_row(_anywhere(user_agent_regex.alternatives(plan.others)[0]), '""')] if plan.others else []
        yield from _map(_USER_AGENT, ["noai_host_alone"], [*others, "default {noai_host}"])
        yield from _map("{noai_host}", ["noai_name_by_host"], ['"" {noai_unknown}', "default {noai_host_alone}"])
        unknown = [_row(_anywhere(user_agent_regex.CALLS_ITSELF_A_BOT), _UNKNOWN)] if plan.asks_unknown_bots else []
        yield from _map(_USER_AGENT, ["noai_unknown"], [*unknown, 'default ""'])

    def _agent(self) -> Iterator[str]:
        tables = self.tables
        yield "\t# Whose name it is, what class of agents that is, and how it is called."
        sought: dict[Agent, list[Token[Agent]]] = {}
        for token in self.plan.wanted:
            sought.setdefault(token.value, []).append(token)
        plain = {'""': '""', _UNKNOWN: UNKNOWN_BOT}
        expressions = []
        for agent, key in tables.ids.items():
            plain |= {quote(_host(token)): key for token in sought[agent] if token.host}
            plain |= {quote(spelling): key for name in names_of(agent) for spelling in spellings(name)}
            words = sorted(token.text.decode("ascii") for token in sought[agent] if not token.host)
            if words:
                expressions.append(_row(f"(?i)^(?:{user_agent_regex.trie(words)})$", key))
        rows = [f"{name} {key}" for name, key in plain.items()]
        yield from _map("{noai_name}", ["noai_agent"], [*rows, *expressions, f"default {KNOWN}"])
        called = {key: (self.plan.who(agent), ascii_text(agent.name)) for agent, key in tables.ids.items()}
        told = [
            " ".join((key or '""', found, *map(_output, called.get(key, ("This client", "")))))
            for key, found in tables.class_names.items()
        ]
        yield from _map("{vars.noai_agent}", ["noai_class", "noai_who", "noai_agent_name"], told)

    def _facts(self) -> Iterator[str]:
        """What is true of a request, as `vars`: none depends on another, because Caddy 2.11 turns their order round."""
        yield "\t# What is true of this request. The path is decoded, without dot segments and double slashes."
        yield from ("\tvars {", '\t\tnoai_agent ""', '\t\tnoai_document ""', "\t}")
        yield from (f"\tvars {matcher} noai_agent {{noai_agent}}" for matcher in self.named)
        for paths in self.tables.path_sets:
            yield f"\t@noai_in_{paths.name} path_regexp {_expression(_any_of(paths))}"
            yield f"\tvars @noai_in_{paths.name} noai_in_{paths.name} 1"
        if self.plan.exempt_networks:
            yield "\t# Behind a proxy of yours (Caddy 2.7 or newer, trusted_proxies): client_ip in place of remote_ip."
            yield f"\t@noai_exempt_address remote_ip {' '.join(map(str, self.plan.exempt_networks))}"
            yield "\tvars @noai_exempt_address noai_exempt_address 1"
        if self.plan.documents:
            published = "|".join(glob_to_regex(document.path)[1:-1] for document in self.plan.documents)
            path = f"path_regexp noai_document {_expression(f'^(?:{published})$')}"
            yield from ("\t@noai_asks_for_document {", "\t\tmethod GET HEAD", f"\t\t{path}", "\t}")
            yield "\tvars @noai_asks_for_document noai_document {http.regexp.noai_document.0}"

    def _decision(self) -> Iterator[str]:
        tables = self.tables
        yield "\t# What the class gets where: the first line that fits."
        rows = [_row(f"^:{NONE}:", '""')]
        rows += [_row(f"^:{found}:{self._in(paths)}", decision) for found, paths, decision in tables.rows]
        source = f"`{{vars.noai_exempt_address}}:{{noai_class}}:{self._flags}`"
        yield from _map(source, ["noai_decision"], [*rows, 'default ""'])
        said = [
            f"{name} {quote(tables.says(decision))[:-1]}{{noai_agent_name}}`"
            for decision, name in tables.decisions.items()
        ]
        yield "\t# To the backend: allow, deny; rule=train-ai; agent=GPTBot ... Nobody else can say it."
        yield from _map("{noai_decision}", ["noai_verdict"], [*said, "default allow"])
        yield from (f"\trequest_header -{alias}" for alias in VERDICT_ALIASES)
        yield "\trequest_header X-NoAI-Verdict {noai_verdict}"

    @property
    def _flags(self) -> str:
        return "".join(f"{{vars.noai_in_{paths.name}}}:" for paths in self.tables.path_sets)

    def _in(self, paths: PathSet | None) -> str:
        """Matches the flags of a path that is in this set."""
        return "" if paths is None else f"(?:[^:]*:){{{self.tables.path_sets.index(paths)}}}1:"

    def _declarations(self) -> Iterator[str]:
        yield "\t# What responses declare. Where a backend says the same kind of thing itself, that stands."
        rows = [_row("^/", "document"), *(_row(f"^:{self._in(paths)}", str(n)) for paths, n in self.plan.path_policies)]
        yield from _map(f"`{{vars.noai_document}}:{self._flags}`", ["noai_section"], [*rows, "default 0"])
        yield from self._fields("noai_declares")

    def _fields(self, matcher: str) -> Iterator[str]:
        """Added when the response is sent, so that header lines of the site's own stand beside them."""
        fields = self.tables.declared_fields
        for number, path_policies in enumerate(dict.fromkeys(fields.values()), 1):
            yield f"\t@{matcher}_{number} vars {{noai_section}} {' '.join(map(str, path_policies))}"
            chosen = [field for field, found in fields.items() if found == path_policies]
            added = [field for field in chosen if field[0] in REPEATABLE]
            if added:
                yield f"\theader @{matcher}_{number} {{"
                yield from (f"\t\t+{' '.join(_header(field))}" for field in added)
                yield "\t\tdefer"
                yield "\t}"
            for field in chosen:
                if field not in added:
                    yield f"\theader @{matcher}_{number} ?{' '.join(_header(field))}"

    def _documents(self) -> Iterator[str]:
        if not self.plan.documents:
            return
        yield "\t# Documents are for everyone."
        yield from _map("{vars.noai_document}", [_DOCUMENT], ['"" none', "default *"])
        numbered = list(enumerate(safe_document_files(self.plan, ""), 1))
        rows = [_row(glob_to_regex(document.path), str(number)) for number, (document, _) in numbered]
        yield from _map("{vars.noai_document}", ["noai_document_number"], rows)
        rows = [f"{number} {_output(document.media_type)} {file.path}" for number, (document, file) in numbered]
        yield from _map("{noai_document_number}", ["noai_media_type", "noai_file"], rows)
        yield f"\t@noai_document path {{{_DOCUMENT}}}"
        yield "\thandle @noai_document {"
        yield f"\t\troot * {quote(f'{self.root}/noai-guard/documents')}"
        yield "\t\trewrite * {noai_file}"
        yield "\t\theader Content-Type {noai_media_type}"
        for field in document_headers(self.plan.documents[0]):
            if field[0] not in (b"content-type", b"content-length", b"etag"):
                yield f"\t\theader {' '.join(_header(field))}"
        yield "\t\tfile_server"
        yield "\t}"

    def _refusal(self) -> Iterator[str]:
        refusals = self.tables.refusals
        rows = [f"{name} * {found.status} {_output(found.tail)}" for name, found in refusals.items()]
        yield from _map("{noai_decision}", [_REFUSED, "noai_status", "noai_tail"], [*rows, 'default none 200 ""'])
        yield f"\t@noai_refused path {{{_REFUSED}}}"
        yield "\thandle @noai_refused {"
        for number, (field, decisions) in enumerate(self.tables.refusal_fields.items(), 1):
            matcher = "*"
            if len(decisions) < len(refusals):
                matcher = f"@noai_refusal_{number}"
                yield f"\t\t{matcher} expression `{{noai_decision}} in {list(decisions)}`"
            plus = "+" if field[0] in REPEATABLE else ""
            yield f"\t\theader {matcher} {plus}{' '.join(_header(field))}"
        yield "\t\trespond `{noai_who}{noai_tail}` {noai_status}"
        yield "\t}"


def _header(field: HeaderField) -> tuple[str, str]:
    return field[0].decode("ascii").title(), quote(field[1].decode("ascii"))


def _any_of(paths: PathSet) -> str:
    return "|".join(map(glob_to_regex, paths.globs))


def _names(tokens: Iterable[Token[Agent]]) -> str:
    """A row of a map: the first of these names in a user agent."""
    pattern, groups = user_agent_regex.alternatives(tokens)
    return _row(_anywhere(pattern), "".join(f"${{{group}}}" for group in range(1, groups + 1)))


def _host(token: Token[Agent]) -> str:
    return f"//{(token.text + token.path).decode('ascii')}"


def _render(plan: TargetPlan, root: str) -> list[File]:
    text = "".join(f"{line}\n" for line in _Config(plan, root).caddyfile())
    documents = [file for _, file in safe_document_files(plan, "noai-guard/documents")]
    return [File("noai-guard.caddy", text.encode("utf-8")), *documents]


TARGET = Target("caddy", "Caddy", frozenset(Feature), _render)
