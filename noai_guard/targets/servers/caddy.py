"""Caddy 2.6 or newer, without any plugin, as snippets that a Caddyfile imports.

Caddy sorts directives, and runs only one of a site's `handle` blocks: the one with the longest path pattern, and of
those that it cannot compare (several patterns, other matchers) the first in the file. A pattern may be a placeholder.
Ours is longer than any pattern of a site, and expands to `*` where we respond. What Caddy sorts before `handle`
(`redir`, `basic_auth`) comes first, except in a `route`, which keeps the order of the file. Seen in 2.6.2 and 2.11.7.

Go's regular expressions with many names take microseconds for each character of a User-Agent, so they run only for
suspects (`go_regex.harmless_expressions`). Caddy evaluates a `map` each time its placeholder is
read, its plain rows one by one, and only the outputs may contain placeholders. What later directives need is stored in
`vars`, early, while the path is still that of the request.
"""

from collections.abc import Iterable, Iterator, Sequence
from string import ascii_lowercase, ascii_uppercase, digits

from noai_guard.core.model import HeaderField
from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.core.user_agent_matcher import HEAD_BYTES, TAIL_BYTES
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import go_regex, suspects, user_agent_regex
from noai_guard.targets.lookup_tables import VERDICT_ALIASES, LookupTables, file_server_headers, header_title, names_of
from noai_guard.targets.origins import MANY, open_expressions, origin_refusals
from noai_guard.targets.plan import UNNAMED_CLIENT, AgentToken, PathSet, TargetPlan, grouped, host_form
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, head, safe_document_files, text_file

_SPECIAL = {"{": "noai_open", "}": "noai_close", "\\": "noai_backslash", "`": "noai_backtick"}
"""Characters with a meaning in a Caddyfile or in placeholders -> the placeholders that stand for them."""

_USER_AGENT = "{http.request.header.User-Agent}"
_MAX_USER_AGENT = HEAD_BYTES + TAIL_BYTES
"""Characters of a User-Agent that are read closely as a whole; the guard counts bytes. Of a longer one it is head and
tail."""

_LOWER = f"{_USER_AGENT}.lowerAscii()"

_MAX_CEL = 90_000
"""Characters of an expression: CEL reads at most 100,000."""

_HIDDEN = "hidden-"
"""What stands before the class of a client that names a refused agent where its User-Agent is not read closely."""

_UNKNOWN = f"//{LookupTables.UNKNOWN_BOT}"

_BEFORE_ALL = "_whose_path_pattern_is_longer_than_those_of_the_site_so_that_caddy_tries_it_first" * 12
"""A thousand characters."""
_REFUSED = f"noai_refused{_BEFORE_ALL}"
_DOCUMENT = f"noai_document{_BEFORE_ALL}_of_all"


def quote(text: str) -> str:
    """Return a text as one literal word of a Caddyfile, also where Caddy replaces placeholders in it.

    Between backquotes nothing else has a meaning. Carriage returns and NUL are left out: Caddy drops them.
    """
    kept = text.replace("\r", "").replace("\0", "")
    return "`" + "".join(f"{{{_SPECIAL[char]}}}" if char in _SPECIAL else char for char in kept) + "`"


def _output(text: str) -> str:
    """Return a text as output of a map, which otherwise converts numbers and booleans."""
    return f"{quote(text)[:-1]}{{noai_nothing}}`"


def _expression(pattern: str) -> str:
    return f"`{go_regex.with_characters(pattern)}`"


def _row(pattern: str, output: str) -> str:
    return f"`~{_expression(pattern)[1:]} {output}"


def _anywhere(pattern: str) -> str:
    """Return an expression that matches only once, because a map concatenates the outputs of all matches."""
    return f"(?is)^.*?{go_regex.with_ascii_letters(pattern)}"


def _cel(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _decoded(text: str) -> str:
    """Return a CEL expression for a text in lower case, in which the escapes of `suspects.ESCAPED` are decoded."""
    characters = f"{ascii_lowercase}{ascii_uppercase}{digits}-._"
    escapes = {f"%{ord(character):02x}": character.lower() for character in characters}
    # Logs write `\x41` and `\u0041`.
    marks = dict.fromkeys((r"\x", r"\u00"), "%")
    replaced = [*marks.items(), ("%25", "%"), ("%25", "%"), *escapes.items()]
    return f"{text}.lowerAscii()" + "".join(
        f".replace({_cel(escape)},{_cel(character)})" for escape, character in replaced
    )


def _map(source: str, names: Iterable[str], rows: Iterable[str]) -> Iterator[str]:
    yield f"\tmap {source} {' '.join(f'{{{name}}}' for name in names)} {{"
    yield from (f"\t\t{row}" for row in rows)
    yield "\t}"


def _map_of_suspects(source: str, names: Iterable[str], rows: Iterable[str]) -> Iterator[str]:
    """Yield a map whose outputs are empty for whom is no suspect."""
    yield from _map(f"@noai_suspect {source}", names, rows)


def _characters(text: str) -> Iterator[str]:
    """Yield the maps of those placeholders of `quote` and `_output` that a text contains: each map costs time."""
    yield "\t# Characters that cannot stand in a text here."
    for character, name in _SPECIAL.items():
        if f"{{{name}}}" in text:
            source = f'"-{character}"' if character == "`" else f"`-{character}`"
            yield from _map(source, [name], ["`~^-(.)` ${1}"])
    yield from _map("-", ["noai_nothing"], ['- ""'])


class Caddyfile:
    """The snippets of one plan."""

    def __init__(self, plan: TargetPlan, root: str) -> None:
        self.plan = plan
        self.root = root.rstrip("/")
        self.tables = LookupTables(plan)
        self.origins = origin_refusals(plan, MANY)
        self.flags = "".join(f"{{vars.noai_in_{paths.name}}}:" for paths in self.tables.path_sets)
        self.suspects_everybody = suspects.suspects_everybody(plan)
        # In a long User-Agent one expression looks for names of restricted agents: those that read closely take 10 ms.
        self.reads_no_long_ones = suspects.reads_no_long_ones(plan)
        size = f"bytes({_USER_AGENT}).size()" if self.reads_no_long_ones else f"{_USER_AGENT}.size()"
        self.is_long = f"{size} > {_MAX_USER_AGENT}"

    def lines(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'caddy')}"
        yield "# In the Caddyfile, before the sites:"
        yield f"#     import {self.root}/noai-guard.caddy"
        yield "# In each site that noai-guard protects, at its top:"
        yield "#     import noai_guard"
        yield "#     handle_errors {"
        yield "#         import noai_guard_errors"
        yield "#     }"
        yield "# A site that has handle_errors already imports noai_guard_errors there."
        yield f"# Refused: {self.tables.refused_names}."
        guard = [
            *self._suspects(),
            *self._name(),
            *self._agent(),
            *self._vars(),
            *self._decision(),
            *self._declarations(),
            *self._documents(),
            *self._by_origin(),
            *self._refusal(),
        ]
        errors = list(self._fields("noai_error_declares"))
        yield "(noai_guard) {"
        yield from _characters("\n".join((*guard, *errors)))
        yield from guard
        yield "}"
        yield "(noai_guard_errors) {"
        yield from errors
        yield "}"

    def _suspects(self) -> Iterator[str]:
        """Yield a matcher for who may have a name that matters. All maps with it become one route: it runs once."""
        yield "\t# Whose User-Agent has the beginning of a word of a name that matters."
        plan = self.plan
        browser = go_regex.browser_expression(plan.anchors)
        tokens = plan.relevant_tokens if self.suspects_everybody else suspects.restricted_tokens(plan)
        bot_words = user_agent_regex.BOT_WORDS if plan.detects_unknown_bots else ()
        some = [f'text.contains("{word}")' for word in bot_words]
        harmless = go_regex.harmless_expressions(suspects.letter_runs(tokens))
        looks = [*some, *(f"!text.matches({_cel(expression)})" for expression in harmless)]
        # With many thousands of names, everybody but usual browsers is a suspect.
        some = looks if sum(map(len, looks)) < _MAX_CEL - len(browser) else ["true"]
        text = f'{_LOWER} + " "'
        usual = f"!({text}).matches({_cel(browser)}) && [{text}].exists(text, {' || '.join(some)})"
        read = f"!({self.is_long}) && {usual}" if self.reads_no_long_ones else f"{self.is_long} || {usual}"
        yield f"\t@noai_suspect expression `{read}`"

    def _name(self) -> Iterator[str]:
        plan = self.plan
        yield "\t# The name of the highest precedence, as it was sent; without a name a URL; else `unknown`."
        yield from _map_of_suspects(_USER_AGENT, ["noai_any_name"], [*map(_names, plan.tiers), 'default ""'])
        ranked = [_names(tokens) for tier in plan.tiers for tokens in plan.ranked(tier)]
        yield from _map_of_suspects(_USER_AGENT, ["noai_weightiest_name"], ranked)
        yield from _map_of_suspects(
            "{noai_any_name}", ["noai_name"], ['"" {noai_name_by_host}', "default {noai_weightiest_name}"]
        )
        host = user_agent_regex.host_expression
        hosts = [_row(_anywhere(host(token)), quote(host_form(token))) for token in plan.host_tokens]
        yield from _map_of_suspects(
            _USER_AGENT, ["noai_host"], [_row(user_agent_regex.NO_URL, '""'), *hosts, 'default ""']
        )
        other_names = user_agent_regex.alternatives(plan.other_tokens)[0]
        others = [_row(_anywhere(other_names), '""')] if plan.other_tokens else []
        yield from _map_of_suspects(_USER_AGENT, ["noai_host_alone"], [*others, "default {noai_host}"])
        yield from _map_of_suspects(
            "{noai_host}", ["noai_name_by_host"], ['"" {noai_unknown}', "default {noai_host_alone}"]
        )
        bot = [_row(_anywhere(user_agent_regex.CALLS_ITSELF_A_BOT), _UNKNOWN)] if plan.detects_unknown_bots else []
        yield from _map_of_suspects(_USER_AGENT, ["noai_unknown"], [*bot, 'default ""'])

    def _agent(self) -> Iterator[str]:
        tables = self.tables
        yield "\t# The agent with this name, its class, and its name in texts."
        by_agent = grouped(self.plan.relevant_tokens, lambda token: token.value)
        plain = {'""': '""', _UNKNOWN: tables.UNKNOWN_BOT}
        expressions = []
        for agent, key in tables.ids.items():
            plain |= {quote(host_form(token)): key for token in by_agent[agent] if token.host}
            # As in the catalogue and in lower case, which is what nearly every client sends.
            plain |= {quote(spelling): key for name in names_of(agent) for spelling in (name, name.lower())}
            words = sorted(token.text.decode("ascii") for token in by_agent[agent] if not token.host)
            if words:
                expressions.append(_row(f"(?i)^(?:{user_agent_regex.trie(words)})$", key))
        rows = [f"{name} {key}" for name, key in plain.items()]
        yield from _map_of_suspects("{noai_name}", ["noai_agent"], [*rows, *expressions, f"default {tables.KNOWN}"])
        texts = {key: map(_output, tables.agent_texts.get(key, (UNNAMED_CLIENT, ""))) for key in tables.class_names}
        rows = [" ".join((key or '""', name, *texts[key])) for key, name in tables.class_names.items()]
        yield from _map("{vars.noai_agent}", ["noai_class", "noai_who", "noai_agent_name"], rows)

    def _vars(self) -> Iterator[str]:
        """Yield `vars` with the facts of a request, independent of each other: Caddy 2.11 reverses their order."""
        yield "\t# Facts of this request. The path is decoded, without dot segments and double slashes."
        yield from ("\tvars {", "\t\tnoai_agent {noai_agent}", '\t\tnoai_document ""', '\t\tnoai_hidden ""', "\t}")
        if self.plan.hidden_tokens:
            for number, hides in enumerate(self._hides_a_name(self.plan.hidden_tokens), 1):
                yield f"\t@noai_hidden_{number} expression `{hides}`"
                yield f"\tvars @noai_hidden_{number} noai_hidden {_HIDDEN}"
        for paths in self.tables.path_sets:
            raw = " && ".join(f"{{http.request.orig_uri}}.matches({_cel(pattern)})" for pattern in paths.raw)
            condition = f"expression `{raw}`" if raw else f"path_regexp {_expression(paths.regex)}"
            yield f"\t@noai_in_{paths.name} {condition}"
            yield f"\tvars @noai_in_{paths.name} noai_in_{paths.name} 1"
        if self.plan.exempt_networks:
            yield "\t# Behind a proxy of yours (Caddy 2.7 or newer, trusted_proxies): client_ip in place of remote_ip."
            yield f"\t@noai_exempt_address remote_ip {' '.join(map(str, self.plan.exempt_networks))}"
            yield "\tvars @noai_exempt_address noai_exempt_address 1"
        if self.plan.documents:
            path = f"path_regexp noai_document {_expression(self.plan.documents_regex)}"
            yield from ("\t@noai_asks_for_document {", "\t\tmethod GET HEAD", f"\t\t{path}", "\t}")
            yield "\tvars @noai_asks_for_document noai_document {http.regexp.noai_document.0}"

    def _hides_a_name(self, tokens: Sequence[AgentToken]) -> Iterator[str]:
        """Yield CEL expressions, each short enough, for names where the User-Agent is not read closely.

        Of a long one it is decided by the one expression that is fast enough for it.
        """
        anywhere = _cel(suspects.anywhere_without_look_around(tokens))
        names = _cel(user_agent_regex.names_anywhere(tokens))
        unread = f"{user_agent_regex.UNREAD_HEAD}, {_USER_AGENT}.size() - {user_agent_regex.UNREAD_TAIL}"
        searched = _LOWER if self.reads_no_long_ones else f"{_LOWER}.substring({unread})"
        escaped = " || ".join(
            f"{_USER_AGENT}.contains({_cel(mark)}) && {_USER_AGENT}.matches({_cel(escape)})"
            for mark, escape in zip("%\\", suspects.ESCAPES, strict=True)
        )
        # Decoding keeps every name that is written without escapes.
        text = f'({escaped}) ? {_decoded(_USER_AGENT)} : {self.is_long} ? {searched} : ""'
        found = f"text.matches({anywhere}) && ({self.is_long} || text.matches({names}))"
        hides = f"({self.is_long} || {escaped}) && [{text}].exists(text, {found})"
        if len(hides) < _MAX_CEL:
            yield hides
            return
        yield from self._hides_a_name(tokens[: len(tokens) // 2])
        yield from self._hides_a_name(tokens[len(tokens) // 2 :])

    def _decision(self) -> Iterator[str]:
        tables = self.tables
        yield "\t# The decision for the class: the first row that matches."
        rows = [_row(f"^:{tables.NONE}:", '""')]
        classes = {name: f"(?:{_HIDDEN})?{name}" for name in tables.stronger_classes}
        classes[self.plan.unreadable.name] = f"{_HIDDEN}[^:]*"
        rows += [
            _row(f"^:{classes.get(name, name)}:{self._path_flags(paths)}", decision)
            for name, paths, decision in tables.rows
        ]
        source = f"`{{vars.noai_exempt_address}}:{{vars.noai_hidden}}{{noai_class}}:{self.flags}`"
        if self.suspects_everybody:
            yield from _map(source, ["noai_decision"], [*rows, 'default ""'])
        else:
            yield from _map(source, ["noai_decision_on_suspect"], [*rows, 'default ""'])
            suspect = ['"" ""', "default {noai_decision_on_suspect}"]
            yield from _map("`{vars.noai_agent}{vars.noai_hidden}`", ["noai_decision"], suspect)
        prefixes = {key: quote(decision.verdict_prefix)[:-1] for decision, key in tables.decisions.items()}
        rows = [f"{key} {prefix}{{noai_agent_name}}`" for key, prefix in prefixes.items()]
        yield "\t# For the backend: allow, deny; rule=train-ai; agent=GPTBot ... No client can set it."
        yield from _map("{noai_decision}", ["noai_verdict"], ['"" allow', *rows, "default allow"])
        yield from (f"\trequest_header -{alias}" for alias in VERDICT_ALIASES)
        yield "\trequest_header X-NoAI-Verdict {noai_verdict}"

    def _path_flags(self, paths: PathSet | None) -> str:
        """Return an expression for the flags of a path that is in this set."""
        return "" if paths is None else f"(?:[^:]*:){{{self.tables.path_sets.index(paths)}}}1:"

    def _declarations(self) -> Iterator[str]:
        yield "\t# Declarations. Where a backend sends a field of the same kind, that one stands."
        if not self.plan.path_policies:
            yield from _map("{vars.noai_document}", ["noai_section"], ['"" 0', "default document"])
            yield from self._fields("noai_declares")
            return
        sections = ((self._path_flags(paths), str(number)) for paths, number in self.plan.path_policies)
        rows = [_row("^/", "document"), *(_row(f"^:{flags}", number) for flags, number in sections)]
        yield from _map(f"`{{vars.noai_document}}:{self.flags}`", ["noai_section"], [*rows, "default 0"])
        yield from self._fields("noai_declares")

    def _fields(self, matcher: str) -> Iterator[str]:
        """Yield fields that Caddy adds when it sends the response, so that the site's own header lines stay."""
        fields = self.tables.declared_fields
        for number, path_policies in enumerate(dict.fromkeys(fields.values()), 1):
            yield f"\t@{matcher}_{number} vars {{noai_section}} {' '.join(map(str, path_policies))}"
            same_sections = [field for field, having in fields.items() if having == path_policies]
            added = [field for field in same_sections if field[0] in REPEATABLE]
            if added:
                yield f"\theader @{matcher}_{number} {{"
                yield from (f"\t\t+{_header(field)}" for field in added)
                yield "\t\tdefer"
                yield "\t}"
            others = (field for field in same_sections if field not in added)
            yield from (f"\theader @{matcher}_{number} ?{_header(field)}" for field in others)

    def _documents(self) -> Iterator[str]:
        if not self.plan.documents:
            return
        yield "\t# Documents are for everyone."
        yield from _map("{vars.noai_document}", [_DOCUMENT], ['"" none', "default *"])
        numbered = list(enumerate(safe_document_files(self.plan, ""), 1))
        rows = [_row(pattern_to_regex(document.path), str(number)) for number, (document, _) in numbered]
        yield from _map("{vars.noai_document}", ["noai_document_number"], rows)
        rows = [f"{number} {_output(document.media_type)} {file.path}" for number, (document, file) in numbered]
        yield from _map("{noai_document_number}", ["noai_media_type", "noai_file"], rows)
        yield f"\t@noai_document path {{{_DOCUMENT}}}"
        yield "\thandle @noai_document {"
        yield f"\t\troot * {quote(f'{self.root}/noai-guard/documents')}"
        yield "\t\trewrite * {noai_file}"
        yield "\t\theader Content-Type {noai_media_type}"
        for name, value in file_server_headers(self.plan.documents[0]):
            yield f"\t\theader {name} {quote(value)}"
        yield "\t\tfile_server"
        yield "\t}"

    def _by_origin(self) -> Iterator[str]:
        """Yield a `handle` for each refusal by network and header field."""
        target, path = open_expressions(self.plan)
        for number, origin in enumerate(self.origins, 1):
            name = f"noai_origin_{number}"
            yield f"\t@{name}_facts {{"
            if origin.networks:
                yield f"\t\tremote_ip {' '.join(map(str, origin.networks))}"
            if origin.outside:
                yield f"\t\t# {origin.note}"
                yield f"\t\tnot remote_ip {' '.join(map(str, origin.outside))}"
            for condition in origin.headers:
                # A name can stand in a matcher only once.
                found = f"header_regexp {condition.name} {_expression(f'(?i){condition.regex}')}"
                met = found if condition.regex else f"header {condition.name} *"
                yield f"\t\t{'not ' * condition.negated}{met}"
            yield f"\t\tnot expression `{{http.request.orig_uri}}.matches({_cel(target)})`"
            if path:
                yield f"\t\tnot path_regexp {_expression(path)}"
            if self.plan.exempt_networks:
                yield f"\t\tnot remote_ip {' '.join(map(str, self.plan.exempt_networks))}"
            yield "\t}"
            yield f"\tvars @{name}_facts {name} 1"
            yield from _map(f"{{vars.{name}}}", [f"{name}{_BEFORE_ALL}"], ["1 *", "default none"])
            yield f"\t@{name} path {{{name}{_BEFORE_ALL}}}"
            yield f"\thandle @{name} {{"
            yield from (f"\t\theader {_header(field)}" for field in origin.fields)
            yield f"\t\trespond {quote(origin.text)} {origin.status}"
            yield "\t}"

    def _refusal(self) -> Iterator[str]:
        refusals = self.tables.refusals
        rows = [f"{key} * {decision.status} {_output(decision.tail)}" for key, decision in refusals.items()]
        yield from _map(
            "{noai_decision}", [_REFUSED, "noai_status", "noai_tail"], ['"" none 200 ""', *rows, 'default none 200 ""']
        )
        yield f"\t@noai_refused path {{{_REFUSED}}}"
        yield "\thandle @noai_refused {"
        for number, (field, decisions) in enumerate(self.tables.refusal_fields.items(), 1):
            matcher = "*"
            if len(decisions) < len(refusals):
                matcher = f"@noai_refusal_{number}"
                yield f"\t\t{matcher} expression `{{noai_decision}} in {list(decisions)}`"
            plus = "+" if field[0] in REPEATABLE else ""
            yield f"\t\theader {matcher} {plus}{_header(field)}"
        yield "\t\trespond `{noai_who}{noai_tail}` {noai_status}"
        yield "\t}"


def _header(field: HeaderField) -> str:
    return f"{header_title(field[0])} {quote(field[1].decode('ascii'))}"


def _names(tokens: Iterable[AgentToken]) -> str:
    """Return a row of a map: the first of these names in a User-Agent."""
    pattern, groups = user_agent_regex.alternatives(tokens)
    return _row(_anywhere(pattern), "".join(f"${{{group}}}" for group in range(1, groups + 1)))


def _render(plan: TargetPlan, root: str) -> list[File]:
    documents = [file for _, file in safe_document_files(plan, "noai-guard/documents")]
    return [text_file("noai-guard.caddy", Caddyfile(plan, root).lines()), *documents]


TARGET = ServerTarget("caddy", "Caddy", _render, supports=USUAL | {Feature.ORIGINS}, max_networks=MANY)
