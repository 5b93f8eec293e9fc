"""Caddy 2.6 or newer, without any plugin, as snippets that a Caddyfile imports.

Caddy sorts directives, and runs only one of a site's `handle` blocks: the one with the longest path pattern, and of
those that it cannot compare (several patterns, other matchers) the first in the file. A pattern may be a placeholder.
Ours is longer than any pattern of a site, and expands to `*` where we respond. What Caddy sorts before `handle`
(`redir`, `basic_auth`) comes first, except in a `route`, which keeps the order of the file. Seen in 2.6.2 and 2.11.7.

Go's regular expressions with many names take microseconds for each character of a User-Agent, so they run only for
suspects (`go_regex.harmless_expressions`). For anybody else as little as possible is evaluated: each directive and each
placeholder takes 0.3 to 3 microseconds, an expression of CEL 2 to 4 (2.6.2, 2026-11-29). All maps of suspects are one
route, whose matcher is tried once; `{noai_suspected}` tells later directives.

Caddy evaluates a `map` each time its placeholder is read, its plain rows one by one, and only the outputs may contain
placeholders. What later directives need is stored in `vars`, early, while the path is still that of the request.
"""

from collections.abc import Iterable, Iterator, Sequence
from string import ascii_lowercase, ascii_uppercase, digits

from noai_guard.core.model import HeaderField
from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.core.user_agent_matcher import HEAD_BYTES, TAIL_BYTES
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import go_regex, suspects, user_agent_regex
from noai_guard.targets.decisions import UNNAMED_CLIENT
from noai_guard.targets.lookup_tables import VERDICT_ALIASES, LookupTables, file_server_headers, header_title, names_of
from noai_guard.targets.origins import MANY, open_expressions, origin_refusals
from noai_guard.targets.path_sets import PathSet
from noai_guard.targets.plan import AgentToken, TargetPlan, grouped, host_form
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, head, safe_document_files, text_file

_SPECIAL = {"{": "noai_open", "}": "noai_close", "\\": "noai_backslash", "`": "noai_backtick"}
"""Characters with a meaning in a Caddyfile or in placeholders -> the placeholders that stand for them."""

_USER_AGENT = "{http.request.header.User-Agent}"
_MAX_USER_AGENT = HEAD_BYTES + TAIL_BYTES
"""Characters of a User-Agent that are read closely as a whole; the guard counts bytes. Of a longer one it is head and
tail."""

_LOWER = f"{_USER_AGENT}.lowerAscii()"
_AFTER_BLANK = f'" " + {_USER_AGENT}'

_MAX_CEL = 90_000
"""Characters of an expression: CEL reads at most 100,000."""

_HIDDEN = "hidden-"
"""What stands before the class of a client that names a refused agent where its User-Agent is not read closely."""

_UNKNOWN = f"//{LookupTables.UNKNOWN_BOT}"

_BEFORE_ALL = "_whose_path_pattern_is_longer_than_those_of_the_site_so_that_caddy_tries_it_first" * 12
"""A thousand characters."""
_REFUSED = f"noai_refused{_BEFORE_ALL}"
_OURS = f"noai_ours{_BEFORE_ALL}"


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


def _any_of(*conditions: str) -> Iterator[str]:
    """Yield a condition that holds if one of these does. Caddy tries them in this order; those that stand side by side
    it tries in any."""
    yield "\t\tnot {"
    yield from (f"\t\t\tnot {condition}" for condition in conditions)
    yield "\t\t}"


def _all_of(*conditions: str) -> Iterator[str]:
    """Yield a condition that holds if all of these do. Caddy tries them in this order."""
    yield from (f"\t\tnot not {condition}".replace("not not not ", "not ") for condition in conditions)


def _joined(conditions: Iterable[str], max_length: int) -> list[str]:
    """Return conjunctions of these conditions in CEL, each at most about `max_length` characters long."""
    parts: list[str] = []
    for condition in conditions:
        if parts and len(parts[-1]) + len(condition) < max_length:
            parts[-1] += f" && {condition}"
        else:
            parts.append(condition)
    return parts


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


def _flag(paths: PathSet) -> str:
    """Return the placeholders that are `1`, or as many as expressions, where the path of a request is in this set."""
    raw = "".join(f"{{noai_in_{paths.name}_{number}}}" for number, _ in enumerate(paths.raw, 1))
    return raw or f"{{vars.noai_in_{paths.name}}}"


class Caddyfile:
    """The snippets of one plan."""

    def __init__(self, plan: TargetPlan, root: str) -> None:
        self.plan = plan
        self.root = root.rstrip("/")
        self.tables = LookupTables(plan)
        self.origins = origin_refusals(plan, MANY)
        self.flags = "".join(f"{_flag(paths)}:" for paths in self.tables.path_sets)
        self.suspects_everybody = suspects.suspects_everybody(plan)
        by_relevance = self.suspects_everybody or plan.detects_unknown_bots
        self.looked_for = frozenset(plan.relevant_tokens if by_relevance else suspects.restricted_tokens(plan))
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
            *self._raw_targets(),
            *self._vars(),
            *self._decision(),
            *self._declarations(),
            *self._responses(),
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
        yield "\t# Whose User-Agent has the beginning of a word of a name that matters, and is no usual browser's."
        plan = self.plan
        yield "\t@noai_suspect {"
        if usual := user_agent_regex.common_browser_expression(plan.anchors):
            # Caddy 2.6 replaces placeholders in a value, too.
            yield from _any_of("header User-Agent `*{*`", f"not vars_regexp {_USER_AGENT} {_expression(usual)}")
        tokens = plan.relevant_tokens if self.suspects_everybody else suspects.restricted_tokens(plan)
        harmless = go_regex.harmless_expressions(
            suspects.letter_runs(tokens), suspects.words_of(set(plan.tokens).difference(tokens))
        )
        looks = [f"text.matches({_cel(expression)})" for expression in harmless]
        if plan.detects_unknown_bots:
            looks[:0] = [f'!text.lowerAscii().contains("{word}")' for word in user_agent_regex.BOT_WORDS]
        expressions = _joined(looks, _MAX_CEL)
        some = [f"expression `[{_AFTER_BLANK}].exists(text, {each})`" for each in expressions]
        yield from _any_of(f"expression `{self.is_long}`", *(f"not {each}" for each in some))
        yield "\t}"
        yield from _map_of_suspects("-", ["noai_suspected"], ["- 1"])
        yield from self._map("-", ["noai_nothing"], ['- ""'])
        yield "\t@noai_suspected vars {noai_suspected} 1"

    def _name(self) -> Iterator[str]:
        plan = self.plan
        yield "\t# The name of the highest precedence, as it was sent; without a name a URL; else `unknown`."
        # What shows that no name or host is there takes a fraction of the time of the expressions for each.
        looks = suspects.words_without_look_around(plan, also={token.value for token in self.looked_for})
        named = [_row(f"(?i){go_regex.with_ascii_letters(look)}", "1") for look in looks]
        yield from _map_of_suspects(_USER_AGENT, ["noai_seems_named"], [*named, 'default ""'])
        yield from _map_of_suspects(
            "{noai_seems_named}", ["noai_name"], ['"" {noai_name_by_host}', "default {noai_weightiest_name}"]
        )
        ranked = [_names(tokens) for tier in plan.tiers for tokens in plan.ranked(tier)]
        yield from _map_of_suspects(_USER_AGENT, ["noai_weightiest_name"], [*ranked, "default {noai_name_by_host}"])
        host = user_agent_regex.host_expression
        hosts = [_row(_anywhere(host(token)), quote(host_form(token))) for token in plan.host_tokens]
        other_tokens = [token for token in plan.tokens if not token.host and token not in self.looked_for]
        other_names = user_agent_regex.alternatives(other_tokens)[0]
        others = [_row(_anywhere(other_names), '""')] if other_tokens else []
        some_host = [_row(_anywhere(user_agent_regex.hosts_expression(plan.host_tokens)), "1")] if hosts else []
        yield from _map_of_suspects(_USER_AGENT, ["noai_some_host"], [*some_host, 'default ""'])
        yield from _map_of_suspects(
            "{noai_some_host}", ["noai_name_by_host"], ['"" {noai_unknown}', "default {noai_host_alone}"]
        )
        yield from _map_of_suspects(_USER_AGENT, ["noai_host_alone"], [*others, "default {noai_host}"])
        yield from _map_of_suspects(_USER_AGENT, ["noai_host"], [*hosts, 'default ""'])
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
        yield from self._map("{vars.noai_agent}", ["noai_class", "noai_who", "noai_agent_name"], rows)

    def _map(self, source: str, names: Iterable[str], rows: Iterable[str]) -> Iterator[str]:
        """Yield a map for everybody who may be restricted."""
        return (_map if self.suspects_everybody else _map_of_suspects)(source, names, rows)

    def _vars(self) -> Iterator[str]:
        """Yield `vars` with the facts of a request, independent of each other: Caddy 2.11 reverses their order."""
        yield "\t# Facts of this request. The path is decoded, without dot segments and double slashes."
        if self.reads_no_long_ones:
            yield "\t@noai_read {"
            yield from _all_of("vars {noai_suspected} 1", f"not expression `{self.is_long}`")
            yield "\t}"
        yield f"\tvars {'@noai_read' if self.reads_no_long_ones else '@noai_suspected'} noai_agent {{noai_agent}}"
        if self.plan.hidden_tokens:
            for number, hides in enumerate(self._hides_a_name(self.plan.hidden_tokens), 1):
                yield f"\t@noai_hidden_{number} {{"
                yield from _all_of("vars {noai_suspected} 1", f"expression `{hides}`")
                yield "\t}"
                yield f"\tvars @noai_hidden_{number} noai_hidden {_HIDDEN}"
        for paths in self.tables.path_sets:
            if not paths.raw:
                yield f"\t@noai_in_{paths.name} path_regexp {_expression(paths.regex)}"
                yield f"\tvars @noai_in_{paths.name} noai_in_{paths.name} 1"
        if self.plan.exempt_networks:
            yield "\t# Behind a proxy of yours (Caddy 2.7 or newer, trusted_proxies): client_ip in place of remote_ip."
            yield f"\t@noai_exempt_address remote_ip {' '.join(map(str, self.plan.exempt_networks))}"
            yield "\tvars @noai_exempt_address noai_exempt_address 1"
        if self.plan.documents:
            path = f"path_regexp noai_document {_expression(self.plan.documents_regex)}"
            yield from (
                "\t@noai_asks_for_document {",
                "\t\tmethod GET HEAD",
                f"\t\t{path}",
                "\t}",
                "\tvars @noai_asks_for_document {",
            )
            yield from (
                f"\t\t{name}"
                for name in ("noai_document {http.regexp.noai_document.0}", "noai_section document", f"{_OURS} *")
            )
            yield "\t}"

    def _raw_targets(self) -> Iterator[str]:
        """Yield maps for the paths that are read as they were sent."""
        for_everybody = self.suspects_everybody or self.plan.path_policies
        for paths in self.tables.path_sets:
            names = [f"noai_in_{paths.name}_{number}" for number, _ in enumerate(paths.raw, 1)]
            for name, pattern in zip(names, paths.raw, strict=True):
                rows = [_row(pattern, "1"), "default 0"]
                yield from (_map if for_everybody else _map_of_suspects)("{http.request.orig_uri}", [name], rows)

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
        yield from self._map(source, ["noai_decision"], [*rows, 'default ""'])
        prefixes = {key: quote(decision.verdict_prefix)[:-1] for decision, key in tables.decisions.items()}
        rows = [f"{key} {prefix}{{noai_agent_name}}`" for key, prefix in prefixes.items()]
        yield "\t# For the backend: allow, deny; rule=train-ai; agent=GPTBot ... No client can set it."
        yield from self._map("{noai_decision}", ["noai_verdict"], ['"" allow', *rows, "default allow"])
        yield from (f"\trequest_header -{alias}" for alias in VERDICT_ALIASES)
        if self.suspects_everybody:
            yield "\trequest_header X-NoAI-Verdict {noai_verdict}"
            return
        yield "\t@noai_not_suspected not vars {noai_suspected} 1"
        yield "\trequest_header @noai_suspected X-NoAI-Verdict {noai_verdict}"
        yield "\trequest_header @noai_not_suspected X-NoAI-Verdict allow"

    def _path_flags(self, paths: PathSet | None) -> str:
        """Return an expression for the flags of a path that is in this set."""
        return (
            ""
            if paths is None
            else f"(?:[^:]*:){{{self.tables.path_sets.index(paths)}}}{'1' * max(1, len(paths.raw))}:"
        )

    def _declarations(self) -> Iterator[str]:
        yield "\t# Declarations. Where a backend sends a field of the same kind, that one stands."
        if not self.plan.path_policies:
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
            sections = f"vars {{noai_section}} {' '.join(map(str, path_policies))}"
            some = sections if self.plan.path_policies else "not vars noai_section document"
            yield f"\t@{matcher}_{number} {some}"
            for field in (field for field, having in fields.items() if having == path_policies):
                yield from self._field(f"@{matcher}_{number}", field)

    def _field(self, matcher: str, field: HeaderField) -> Iterator[str]:
        lines = [f"{'+' if field[0] in REPEATABLE else '?'}{_header(field)}"]
        if field[0] == b"tdm-policy":
            # Of a block, Caddy adds all or, where the response has one of these fields, none. It comes first: after it
            # are those above.
            lines += [
                f"?{_header(other)}" for other in self.tables.declared_fields if other == (b"tdm-reservation", b"1")
            ]
        lines += ["defer"] * (field[0] in REPEATABLE)
        yield from (f"\theader {matcher} {{", *(f"\t\t{line}" for line in lines), "\t}")

    def _responses(self) -> Iterator[str]:
        """Yield the one `handle` that responds in place of the site."""
        yield from self._origins()
        tables = self.tables
        rows = [f"{key} * {decision.status} {_output(decision.tail)}" for key, decision in tables.refusals.items()]
        names = [_REFUSED, "noai_status", "noai_tail"]
        yield from self._map("{noai_decision}", names, ['"" "" 200 ""', *rows, 'default "" 200 ""'])
        yield f"\t@noai_responds path {{vars.{_OURS}}}{{{_REFUSED}}}"
        yield "\thandle @noai_responds {"
        yield from (f"\t{line}" for line in (*self._documents(), *self._refusals()))
        yield "\t}"

    def _documents(self) -> Iterator[str]:
        if not self.plan.documents:
            return
        yield "\t# Documents are for everyone."
        yield "\t@noai_document vars noai_section document"
        yield "\thandle @noai_document {"
        yield f"\t\troot * {quote(f'{self.root}/noai-guard/documents')}"
        # A map takes the path as it is; a matcher would fill in `{x}` in it.
        rows = [
            _row(pattern_to_regex(document.path), f"{quote(document.media_type)} {file.path}")
            for document, file in safe_document_files(self.plan, "")
        ]
        yield from (f"\t{line}" for line in _map("{vars.noai_document}", ["noai_media_type", "noai_file"], rows))
        yield "\t\theader Content-Type {noai_media_type}"
        yield "\t\trewrite * {noai_file}"
        for name, value in file_server_headers(self.plan.documents[0]):
            yield f"\t\theader {name} {quote(value)}"
        yield "\t\tfile_server"
        yield "\t}"

    def _origins(self) -> Iterator[str]:
        """Yield a matcher for each refusal by network and header field."""
        target, path = open_expressions(self.plan)
        for number, origin in enumerate(self.origins, 1):
            yield f"\t@noai_origin_{number} {{"
            conditions = []
            for condition in origin.headers:
                found = f"header_regexp {condition.name} {_expression(f'(?i){condition.regex}')}"
                met = found if condition.regex else f"header {condition.name} *"
                conditions.append(f"not {met}" if condition.negated else met)
            if origin.networks:
                conditions.append(f"remote_ip {' '.join(map(str, origin.networks))}")
            if origin.outside:
                yield f"\t\t# {origin.note}"
                conditions.append(f"not remote_ip {' '.join(map(str, origin.outside))}")
            conditions.append(f"not expression `{{http.request.orig_uri}}.matches({_cel(target)})`")
            if path:
                conditions.append(f"not path_regexp {_expression(path)}")
            if self.plan.exempt_networks:
                conditions.append(f"not remote_ip {' '.join(map(str, self.plan.exempt_networks))}")
            yield from _all_of(*conditions)
            yield "\t}"
            yield from (f"\tvars @noai_origin_{number} {{", f"\t\tnoai_origin_{number} 1", f"\t\t{_OURS} *", "\t}")

    def _refusals(self) -> Iterator[str]:
        for number, origin in enumerate(self.origins, 1):
            yield f"\t@noai_from_origin_{number} vars noai_origin_{number} 1"
            yield f"\thandle @noai_from_origin_{number} {{"
            yield from (f"\t\theader {_header(field)}" for field in origin.fields)
            yield f"\t\trespond {quote(origin.text)} {origin.status}"
            yield "\t}"
        yield "\thandle {"
        for number, (field, decisions) in enumerate(self.tables.refusal_fields.items(), 1):
            matcher = "*"
            if len(decisions) < len(self.tables.refusals):
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
