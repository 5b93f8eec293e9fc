"""Varnish 7.1 or newer, with vmod std alone: one file that a VCL includes first.

VCL concatenates subroutines of one name in the order in which it reads them, so ours run before the site's. The
decision comes before the cache lookup: a cached page is refused like any other, and a refusal is never cached. VCL has
no variables, so request headers named X-NoAI-... take their place, and no loops, so `..` is removed `_MAX_PARENTS`
times.
"""

import re
from collections.abc import Iterable, Iterator

from noai_guard.core.guard import CALLS_ITSELF_A_BOT
from noai_guard.core.model import HeaderField
from noai_guard.core.networks import NetworkSet
from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.core.text import ascii_text
from noai_guard.core.user_agent_matcher import HEAD_BYTES, TAIL_BYTES
from noai_guard.responses.documents import document_headers
from noai_guard.responses.header_fields import REPEATABLE, one_line_per_name
from noai_guard.targets import suspects, user_agent_regex
from noai_guard.targets.decisions import UNNAMED_CLIENT
from noai_guard.targets.lookup_tables import VERDICT_ALIASES, LookupTables
from noai_guard.targets.origins import open_expressions, origin_refusals
from noai_guard.targets.path_sets import PathSet
from noai_guard.targets.plan import TargetPlan, grouped, host_form
from noai_guard.targets.target import USUAL, Feature, ServerTarget, block, head, text_file

_MAX_EXPRESSION = 16_000
"""Characters of one expression; PCRE2 compiles to at most 64 KiB if it is built with links of two bytes."""

_HEAD_AND_TAIL = rf"(?s)^(.{{{HEAD_BYTES}}}).+(.{{{TAIL_BYTES}}})\z"
"""Matches a User-Agent that is too long to be read closely as a whole."""

_LONG_CHUNK = rf"[^{user_agent_regex.DELIMITERS}]{{600}}"
"""Matches a text without delimiters that is not read closely: 1,500 letters in a row overflow the stack of compiled
expressions, which Varnish does not enlarge, and then nothing matches (seen in 7.1)."""

_MAX_PARENTS = 8
"""Number of `..` segments of a path that are resolved; a path with more of them is in no path set."""

_DECODED = [chr(byte) for byte in range(0x20, 0x7F) if chr(byte) != "%"] + ["%"]
"""Characters that are percent-decoded; the percent sign comes last, so that nothing is decoded twice."""

_VARIABLES = ("Class", "Decision", "Line", "Name", "Path", "User-Agent", "Verdict", "Section")
_CLASS, _DECISION, _LINE, _NAME, _PATH, _USER_AGENT = (f"req.http.X-NoAI-{name}" for name in _VARIABLES[:6])
_ALL = "req.http.User-Agent"

_KNOWN, _UNKNOWN = "/known", "/unknown"
_LINE_OF_NAME = r"(?s)^([^\n]*)\n(?:[^\n]*\n)*?\1\t([^\n]*)\n.*"


def quote(text: str) -> str:
    """Return a text as a literal VCL string; long strings take everything except their own end and NUL."""
    parts = text.replace("\0", "").split('"}')
    return ' + {"""} + "}" + '.join(f'{{"{part}"}}' for part in parts)


def _matches(field: str, pattern: str, any_case: bool = False) -> str:
    return f"{field} ~ {quote(('(?i)' if any_case else '') + _to_the_end(pattern))}"


def _matches_any(patterns: Iterable[str]) -> str:
    """Return whether the User-Agent matches any of these expressions."""
    return f"({' || '.join(_matches(_ALL, pattern, any_case=True) for pattern in patterns)})"


_FIRST, _SECOND, _HEAD_TO_TAIL = quote(r"\1"), quote(r"\2"), quote(r"\1__\2")


def _field(number: int) -> str:
    """Return an expression that captures one tab-separated field of a line; a header field loses leading blanks."""
    return rf"^(?:[^\t]*\t){{{number - 1}}}([^\t]*).*"


def _to_the_end(pattern: str) -> str:
    """Return an expression in which `$` is the very end; in PCRE it also matches before a last line feed."""
    return pattern.replace("$", r"\z")


def _if(condition: str, lines: Iterable[str]) -> Iterator[str]:
    return block(f"if ({condition})", lines, "  ")


class VclFile:
    """The subroutines of one plan."""

    def __init__(self, plan: TargetPlan) -> None:
        self.plan = plan
        self.tables = LookupTables(plan)
        self.origins = origin_refusals(plan)

    def lines(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'varnish')}"
        yield '# Include this right after "vcl 4.1;" and your backends, before your own subroutines.'
        yield f"# Refused: {self.tables.refused_names}."
        yield "import std;"
        if self.plan.exempt_networks:
            yield from block("acl noai_exempt", _acl(self.plan.exempt_networks), "  ")
        for number, origin in enumerate(self.origins, 1):
            if origin.networks:
                yield from block(f"acl noai_origin_{number}", _acl(origin.networks), "  ")
            if origin.outside:
                yield f"# {origin.note}"
                yield from block(f"acl noai_outside_{number}", _acl(origin.outside), "  ")
        for name, body in (
            ("noai_agent", self._agent()),
            ("noai_path", self._path()),
            ("noai_judge", self._judge()),
            ("vcl_recv", self._recv()),
            ("vcl_backend_fetch", iter(["unset bereq.http.X-NoAI-Section;"])),
            ("vcl_deliver", self._declares()),
            ("vcl_synth", self._synth()),
        ):
            yield from block(f"sub {name}", body, "  ")

    def _agent(self) -> Iterator[str]:
        """Yield the lines that set X-NoAI-Name to the recognised name, as in the catalogue, or leave it empty."""
        for tier in self.plan.tiers:
            for tokens in self.plan.ranked(tier):
                for expression in user_agent_regex.expressions(tokens, _MAX_EXPRESSION):
                    pattern = f"(?i){_to_the_end(expression.pattern())}"
                    name = f"regsub({_USER_AGENT}, {quote(f'(?s)^.*?{pattern}.*')}, {_FIRST})"
                    named = f'set {_NAME} = regsuball(std.tolower({name}), " |%20", "+");'
                    yield from _if(f"{_USER_AGENT} ~ {quote(pattern)}", [named, "return;"])
        for token in self.plan.host_tokens:
            condition = _matches(_USER_AGENT, user_agent_regex.host_expression(token), any_case=True)
            yield from _if(f'{_NAME} == "" && {condition}', [f"set {_NAME} = {quote(host_form(token))};"])
        if self.plan.detects_unknown_bots:
            bot = _matches(_USER_AGENT, CALLS_ITSELF_A_BOT.pattern.decode("ascii"), any_case=True)
            yield from _if(f'{_NAME} == "" && {bot}', [f'set {_NAME} = "{_UNKNOWN}";'])
        # A URL counts only without a name of the whole catalogue, and only then is a bot unknown.
        others = user_agent_regex.expressions(self.plan.other_tokens, _MAX_EXPRESSION)
        named = " || ".join(_matches(_USER_AGENT, names.pattern(), any_case=True) for names in others)
        if named:
            by_host = "" if self.plan.detects_unknown_bots else f'{_NAME} != "" && '
            yield from _if(f"{by_host}({named})", [f'set {_NAME} = "{_KNOWN}";'])

    def _lookup(self) -> Iterator[str]:
        """Yield the lines that look a name up: VCL has no tables, so a back-reference finds the line of the name.

        A line has the name, the class, the agent's name and its name in a refusal. Each expression searches only the
        lines of one first character, which saves workspace.
        """
        classes = self.tables.class_names
        unknown_bot = classes[self.tables.UNKNOWN_BOT]
        lines = {_UNKNOWN: (unknown_bot, "", UNNAMED_CLIENT), _KNOWN: (self.tables.NONE, "", UNNAMED_CLIENT)}
        for token in self.plan.relevant_tokens:
            name = host_form(token) if token.host else token.text.decode("ascii").replace(" ", "+")
            agent_class = classes[self.tables.ids.get(token.value, self.tables.KNOWN)]
            lines[name] = (agent_class, ascii_text(token.value.name), self.plan.client_name(token.value))
        rows = ("\t".join((name, *lines[name])) + "\n" for name in sorted(lines))
        for first, part_of_rows in grouped(rows, lambda row: row[0]).items():
            part = quote("\n" + "".join(part_of_rows))
            line = f"set {_LINE} = regsub({_NAME} + {part}, {quote(_LINE_OF_NAME)}, {_SECOND});"
            yield from _if(f"{_NAME} ~ {quote(f'^{user_agent_regex.escaped(first)}')}", [line])
        yield f"set {_CLASS} = regsub({_LINE}, {quote(_field(1))}, {_FIRST});"

    def _unreadable(self) -> Iterator[str]:
        """Yield the lines for names that are hidden in what is not read closely."""
        plan = self.plan
        if not plan.hidden_tokens:
            return
        stronger = "|".join(self.tables.stronger_classes)
        long, chunk = (_matches(_ALL, pattern) for pattern in (user_agent_regex.LONG, _LONG_CHUNK))
        hidden = _matches_any(user_agent_regex.hidden_expressions(plan.hidden_tokens, _MAX_EXPRESSION))
        named = _matches_any(user_agent_regex.names_anywhere_in_parts(plan.hidden_tokens, _MAX_EXPRESSION))
        escaped = _matches_any([suspects.ESCAPED])
        weaker = f"{_CLASS} !~ {quote(f'^(?:{stronger})$')} && " if stronger else ""
        unreadable = [f'set {_CLASS} = "{plan.unreadable.name}";', f"unset {_LINE};"]
        yield from _if(f"{weaker}({escaped} || ({long} && {hidden}) || ({chunk} && {named}))", unreadable)

    def _path(self) -> Iterator[str]:
        """Yield the lines that set X-NoAI-Path: without query, decoded once, without empty and dot segments."""
        whole = f'set {_PATH} = regsub(regsub(req.url, "^[A-Za-z][A-Za-z0-9+.-]*://[^/]*", ""), {quote("[?].*")}, "");'
        yield f"set {_PATH} = req.url;"
        yield from _if(f"{_PATH} ~ {quote('[?%]|//|/[.]|^[^/]|^$')}", [whole, *self._cleaned()])

    def _cleaned(self) -> Iterator[str]:
        literals = {char: quote(char) for char in _DECODED} | {"\\": quote(r"\\")}
        decoded = [
            f"set {_PATH} = regsuball({_PATH}, {quote(f'(?i)%{ord(char):02x}')}, {literal});"
            for char, literal in literals.items()
        ]
        yield from _if(f'{_PATH} ~ "%"', decoded)
        slashes, dots = quote("/{2,}"), quote(r"(?:/[.])+(?=/|\z)")
        up = quote(r"(?:/[^/]+)?/[.][.](?:/|\z)")
        steps = [f'set {_PATH} = regsub({_PATH}, {up}, "/");'] * _MAX_PARENTS
        clean = [f'set {_PATH} = regsuball({_PATH}, {slashes}, "/");', f'set {_PATH} = regsuball({_PATH}, {dots}, "");']
        yield from _if(f"{_PATH} ~ {quote('//|/[.]')}", [*clean, *steps])
        yield from _if(f'{_PATH} == ""', [f'set {_PATH} = "/";'])

    def _recv(self) -> Iterator[str]:
        yield from (f"unset req.http.X-NoAI-{name};" for name in _VARIABLES)
        # A field name with a dot needs quotes.
        aliases = (f'"{alias}"' if "." in alias else alias for alias in VERDICT_ALIASES)
        yield from (f"unset req.http.{alias};" for alias in aliases)
        yield "call noai_path;"
        for section, number in self.plan.path_policies:
            condition = f"!req.http.X-NoAI-Section && ({_in_paths(section)})"
            yield from _if(condition, [f'set req.http.X-NoAI-Section = "{number}";'])
        for number, document in enumerate(self.plan.documents):
            condition = f'{_is_at(document.path)} && (req.method == "GET" || req.method == "HEAD")'
            yield from _if(condition, [f'set {_DECISION} = "document_{number}";', "return (synth(200));"])
        yield from self._by_origin()
        # Of several User-Agent lines Varnish reads the first.
        yield f"std.collect({_ALL});"
        yield 'set req.http.X-NoAI-Verdict = "allow";'
        if suspects.suspects_everybody(self.plan):
            yield "call noai_judge;"
        else:
            looks = suspects.first_look(self.plan, suspects.FAST)
            yield from _if(_matches_any(looks), ["call noai_judge;"])
        yield f"unset {_PATH};"

    def _judge(self) -> Iterator[str]:
        """Yield the lines that refuse a suspect, or set the verdict for the backend."""
        yield f'set {_NAME} = "";'
        yield f"set {_USER_AGENT} = regsub({_ALL}, {quote(_HEAD_AND_TAIL)}, {_HEAD_TO_TAIL});"
        chunk = quote(f"{_LONG_CHUNK}[^{user_agent_regex.DELIMITERS}]*")
        cut = f'set {_USER_AGENT} = regsuball({_USER_AGENT}, {chunk}, "__");'
        yield from _if(_matches(_USER_AGENT, _LONG_CHUNK), [cut])
        yield "call noai_agent;"
        yield f'set {_CLASS} = "{self.tables.class_names[""]}";'
        yield from _if(f'{_NAME} != ""', self._lookup())
        yield from self._unreadable()
        exempt = "client.ip !~ noai_exempt && " if self.plan.exempt_networks else ""
        for agent_class, paths, name in self.tables.rows:
            in_paths = f" && ({_in_paths(paths)})" if paths else ""
            condition = f'{exempt}!{_DECISION} && {_CLASS} == "{agent_class}"{in_paths}'
            yield from _if(condition, [f'set {_DECISION} = "{name}";'])
        for decision, name in self.tables.decisions.items():
            value = f"{quote(decision.verdict_prefix)} + regsub({_LINE}, {quote(_field(2))}, {_FIRST})"
            verdict = [f"set req.http.X-NoAI-Verdict = {value};"] if decision.label != "allow" else []
            refuse = [f"return (synth({decision.status}));"] if decision.status else []
            if verdict or refuse:
                yield from _if(f'{_DECISION} == "{name}"', [*verdict, *refuse])
        classes = (*self.tables.restricted_classes, self.plan.unreadable)
        refused = "|".join(agents.name for agents in classes if any(decision.status for decision in agents.decisions))
        if refused:
            yield "# Varnish does not look at what follows on a piped connection."
            yield from _if(f"{_CLASS} ~ {quote(f'^(?:{refused})$')}", ["unset req.http.Upgrade;"])
        yield from (
            f"unset req.http.X-NoAI-{name};" for name in _VARIABLES if name not in ("Path", "Verdict", "Section")
        )

    def _by_origin(self) -> Iterator[str]:
        """Yield the lines that refuse by network and header field."""
        target, path = open_expressions(self.plan)
        spared = [f"!({_matches('req.url', target)})"]
        spared += [f"!({_matches(_PATH, _decoded_path_regex(path))})"] if path else []
        spared += ["client.ip !~ noai_exempt"] if self.plan.exempt_networks else []
        for number, origin in enumerate(self.origins, 1):
            conditions = [f"client.ip ~ noai_origin_{number}"] if origin.networks else []
            conditions += [f"client.ip !~ noai_outside_{number}"] if origin.outside else []
            for condition in origin.headers:
                name = f"req.http.{condition.name}"
                yield f"std.collect({name});"
                met = f"({_matches(name, condition.regex, any_case=True)})" if condition.regex else name
                conditions.append(f"!{met}" if condition.negated else met)
            refuse = [
                f'set {_DECISION} = "origin_{number}";',
                f"set req.http.X-NoAI-Verdict = {quote(origin.verdict)};",
                f"return (synth({origin.status}));",
            ]
            yield from _if(" && ".join([*conditions, *spared]), refuse)

    def _declares(self) -> Iterator[str]:
        """Yield one line a name, in which the values of a name are joined with those of the site."""
        for path_policy, declared in enumerate(self.plan.declarations):
            # tdm-policy belongs to tdm-reservation, so it is decided on before ours is set.
            fields = sorted(one_line_per_name(declared.fields).items(), key=lambda field: field[0] != b"tdm-policy")
            condition = f'req.http.X-NoAI-Section == "{path_policy}"' if path_policy else "!req.http.X-NoAI-Section"
            yield from _if(condition, (line for name, value in fields for line in _declared(name, value)))

    def _synth(self) -> Iterator[str]:
        for number, document in enumerate(self.plan.documents):
            fields = [_set(field) for field in document_headers(document) if field[0] != b"content-length"]
            body = f"synthetic({quote(document.body.decode('utf-8'))});"
            yield from _if(f'{_DECISION} == "document_{number}"', [*fields, body, "return (deliver);"])
        yield from self._declares()
        for number, origin in enumerate(self.origins, 1):
            lines = [*map(_set, origin.fields), f"synthetic({quote(origin.text)});", "return (deliver);"]
            yield from _if(f'{_DECISION} == "origin_{number}"', lines)
        for name, decision in self.tables.refusals.items():
            fields = [_set(field) for field in decision.headers if field in self.tables.refusal_fields]
            client = f"regsub({_LINE}, {quote(_field(3))}, {_FIRST})"
            default = (
                f"if (!{_LINE}) {{ set {_LINE} = {quote(f'{self.tables.NONE}{chr(9)}{chr(9)}{UNNAMED_CLIENT}')}; }}"
            )
            body = f"synthetic({client} + {quote(decision.tail)});"
            yield from _if(f'{_DECISION} == "{name}"', [*fields, default, body, "return (deliver);"])


def _acl(networks: NetworkSet) -> Iterator[str]:
    return (f'"{network.network_address}"/{network.prefixlen};' for network in networks)


def _is_at(path: str) -> str:
    if re.fullmatch("[A-Za-z0-9/._-]+", path):
        return f"{_PATH} == {quote(path)}"
    return _matches(_PATH, _decoded_path_regex(pattern_to_regex(path)))


def _in_paths(paths: PathSet) -> str:
    if paths.raw:
        return " && ".join(_matches("req.url", pattern) for pattern in paths.raw)
    return " || ".join(_matches(_PATH, _decoded_path_regex(regex)) for regex in paths.regexes)


def _set(field: HeaderField) -> str:
    return f"set resp.http.{field[0].decode()} = {quote(field[1].decode('ascii'))};"


def _declared(name: bytes, value: bytes) -> Iterator[str]:
    header, text = f"resp.http.{name.decode()}", value.decode("ascii")
    if name in REPEATABLE:
        yield f"std.collect({header});"
        yield from _if(header, [f"set {header} = {quote(f'{text}, ')} + {header};"])
    reserved = " && !resp.http.tdm-reservation" if name == b"tdm-policy" else ""
    yield from _if(f"!{header}{reserved}", [f"set {header} = {quote(text)};"])


def _decoded_path_regex(regex: str) -> str:
    """Return the expression of a glob for a path in which only ASCII is decoded; other bytes may be encoded."""
    return re.sub(r"\\x([89a-f][0-9a-f])", r"(?:\\x\1|(?i:%\1))", regex)


TARGET = ServerTarget(
    "varnish",
    "Varnish",
    lambda plan, root: [text_file("noai-guard.vcl", VclFile(plan).lines())],
    supports=(USUAL | {Feature.ORIGINS}) - {Feature.LINES},
)
