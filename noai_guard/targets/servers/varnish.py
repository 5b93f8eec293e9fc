"""Varnish 7.1 or newer, with vmod std alone: one file that a VCL includes first.

VCL joins subroutines of one name in the order in which it reads them, so ours run before the site's. The verdict falls
before the cache is asked: a stored page is refused like any other, and a refusal is never stored. There are no
variables, so request headers under X-NoAI- stand for them, and no loops, so dot segments are removed `_DEEPEST` times.
"""

from collections.abc import Iterable, Iterator

from noai_guard.core.guard import CALLS_ITSELF_A_BOT
from noai_guard.core.model import Agent
from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.core.text import ascii_text
from noai_guard.core.user_agent_matcher import Token
from noai_guard.responses.documents import document_headers
from noai_guard.targets import user_agent_regex
from noai_guard.targets.lookup_tables import NONE, UNKNOWN_BOT, Tables
from noai_guard.targets.plan import PathSet, TargetPlan, listed
from noai_guard.targets.target import Feature, File, Target, head

_LONGEST = 16_000
"""Characters of one expression; PCRE2 compiles to 64 KiB at most where it is built with links of two bytes."""

_READ = 700
"""Characters of a user agent that are read. Of 367,590 from public lists 99.99 % have at most 548 (2026-11-23); with
1,536 letters in a row the stack of compiled expressions, which Varnish does not enlarge, was full."""

_DEEPEST = 8
"""How many `..` of a path are followed; behind more of them whoever is refused anywhere is refused."""

_UNENCODED = [chr(byte) for byte in range(0x20, 0x7F) if chr(byte) != "%"] + ["%"]
"""What percent-encoding is undone, the percent sign last, so that nothing is undone twice."""

_OURS = ("Class", "Decision", "Line", "Name", "Path", "User-Agent", "Verdict", "Section")
_CLASS, _DECISION, _LINE, _NAME, _PATH, _USER_AGENT = (f"req.http.X-NoAI-{name}" for name in _OURS[:6])

_KNOWN, _UNKNOWN, _NOBODY = "/known", "/unknown", "This client"
_LINE_OF_NAME = r"(?s)^([^\n]*)\n(?:[^\n]*\n)*?\1\t([^\n]*)\n.*"


def quote(text: str) -> str:
    """A text as a VCL string that means itself; long strings take everything but their own end and NUL."""
    parts = text.replace("\0", "").split('"}')
    return ' + {"""} + "}" + '.join(f'{{"{part}"}}' for part in parts)


def _matches(field: str, pattern: str, any_case: bool = False) -> str:
    return f"{field} ~ {quote(('(?i)' if any_case else '') + _to_the_end(pattern))}"


_FIRST, _SECOND = quote(r"\1"), quote(r"\2")


def _field(number: int) -> str:
    """An expression that captures one field of a line, which as a header loses the blanks before it."""
    return rf"^(?:[^\t]*\t){{{number - 1}}}([^\t]*).*"


def _host_name(token: Token[Agent]) -> str:
    return "//" + (token.text + token.path).decode("ascii")


def _to_the_end(pattern: str) -> str:
    """`$` of PCRE would also match before a line feed at the end."""
    return pattern.replace("$", r"\z")


def _block(condition: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"if ({condition}) {{"
    yield from (f"  {line}" for line in lines)
    yield "}"


class _Vcl:
    def __init__(self, plan: TargetPlan) -> None:
        self.plan = plan
        self.tables = Tables(plan)

    def lines(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'varnish')}"
        yield '# Include this right after "vcl 4.1;" and your backends, before your own subroutines.'
        yield f"# Refused: {listed(agent for found in self.tables.harmful for agent in found.agents)}."
        yield "import std;"
        if self.plan.exempt_networks:
            yield "acl noai_exempt {"
            networks = self.plan.exempt_networks
            yield from (f'  "{network.network_address}"/{network.prefixlen};' for network in networks)
            yield "}"
        for name, body in (
            ("noai_agent", self._agent()),
            ("noai_path", self._path()),
            ("vcl_recv", self._recv()),
            ("vcl_backend_fetch", iter(["unset bereq.http.X-NoAI-Section;"])),
            ("vcl_deliver", self._declares()),
            ("vcl_synth", self._synth()),
        ):
            yield f"sub {name} {{"
            yield from (f"  {line}" for line in body)
            yield "}"

    def _agent(self) -> Iterator[str]:
        """Who is named: the name as the catalogue writes it, or nothing."""
        anchors = self.plan.anchors
        usual = user_agent_regex.usual_browser_expression(anchors)
        if usual and self.plan.unclaimed.harmless:
            yield from _block(_matches(_USER_AGENT, usual), ["return;"])
        if self.plan.unclaimed.harmless:
            browser = user_agent_regex.browser_expression(anchors, possessive=True)
            yield from _block(_matches(_USER_AGENT, browser, any_case=True), ["return;"])
        for tier in self.plan.tiers:
            for weight in self.plan.weights(tier):
                for expression in user_agent_regex.expressions(weight, _LONGEST):
                    pattern = f"(?i){_to_the_end(expression.pattern())}"
                    name = f"regsub({_USER_AGENT}, {quote(f'(?s)^.*?{pattern}.*')}, {_FIRST})"
                    named = f'set {_NAME} = regsuball(std.tolower({name}), " |%20", "+");'
                    yield from _block(f"{_USER_AGENT} ~ {quote(pattern)}", [named, "return;"])
        for token in self.plan.hosts:
            condition = _matches(_USER_AGENT, user_agent_regex.host_expression(token), any_case=True)
            yield from _block(f'{_NAME} == "" && {condition}', [f"set {_NAME} = {quote(_host_name(token))};"])
        if self.plan.asks_unknown_bots:
            says = _matches(_USER_AGENT, CALLS_ITSELF_A_BOT.pattern.decode("ascii"), any_case=True)
            yield from _block(f'{_NAME} == "" && {says}', [f'set {_NAME} = "{_UNKNOWN}";'])
        # An address counts only where no name of the whole catalogue stands, and only then is a bot unknown.
        others = user_agent_regex.expressions(self.plan.others, _LONGEST)
        named = " || ".join(_matches(_USER_AGENT, found.pattern(), any_case=True) for found in others)
        if named:
            asked = "" if self.plan.asks_unknown_bots else f'{_NAME} != "" && '
            yield from _block(f"{asked}({named})", [f'set {_NAME} = "{_KNOWN}";'])

    def _table(self) -> dict[str, list[str]]:
        """By the first character of a name, lines of name, class, the agent's name and how a refusal calls it."""
        named = self.tables.class_names
        lines = {_UNKNOWN: (named[UNKNOWN_BOT], "", _NOBODY), _KNOWN: (NONE, "", _NOBODY)}
        for token in self.plan.wanted:
            name = _host_name(token) if token.host else token.text.decode("ascii").replace(" ", "+")
            agent = token.value
            lines[name] = (
                named[self.tables.id_of(agent)],
                " ".join(ascii_text(agent.name).split()),
                self.plan.who(agent),
            )
        table: dict[str, list[str]] = {}
        for name, fields in sorted(lines.items()):
            table.setdefault(name[0], []).append("\t".join((name, *fields)) + "\n")
        return table

    def _looked_up(self) -> Iterator[str]:
        """A back-reference finds the line of a name: VCL has no tables. Parts of it, to spare the workspace."""
        for first, lines in self._table().items():
            part = quote("\n" + "".join(lines))
            line = f"set {_LINE} = regsub({_NAME} + {part}, {quote(_LINE_OF_NAME)}, {_SECOND});"
            yield from _block(f"{_NAME} ~ {quote(f'^{user_agent_regex.escaped(first)}')}", [line])
        yield f"set {_CLASS} = regsub({_LINE}, {quote(_field(1))}, {_FIRST});"

    def _path(self) -> Iterator[str]:
        """The path as it is judged: without query, decoded once, without empty and dot segments."""
        yield f'set {_PATH} = regsub(regsub(req.url, "^[A-Za-z][A-Za-z0-9+.-]*://[^/]*", ""), {quote("[?].*")}, "");'
        decoded = [
            f"set {_PATH} = regsuball({_PATH}, {quote(f'(?i)%{ord(found):02x}')}, {quote(_replacement(found))});"
            for found in _UNENCODED
        ]
        yield from _block(f'{_PATH} ~ "%"', decoded)
        slashes, dots = quote("/{2,}"), quote(r"(?:/[.])+(?=/|\z)")
        up = quote(r"(?:/[^/]+)?/[.][.](?:/|\z)")
        steps = [f'set {_PATH} = regsub({_PATH}, {up}, "/");'] * _DEEPEST
        clean = [f'set {_PATH} = regsuball({_PATH}, {slashes}, "/");', f'set {_PATH} = regsuball({_PATH}, {dots}, "");']
        yield from _block(f"{_PATH} ~ {quote('//|/[.]')}", [*clean, *steps])
        yield from _block(f'{_PATH} == ""', [f'set {_PATH} = "/";'])

    def _recv(self) -> Iterator[str]:
        yield from (f"unset req.http.X-NoAI-{name};" for name in _OURS)
        yield from (
            f"unset req.http.{name};"
            for name in ("X_NoAI_Verdict", "X-NoAI_Verdict", "X_NoAI-Verdict", '"X.NoAI.Verdict"')
        )
        yield "call noai_path;"
        yield from self._section()
        for number, document in enumerate(self.plan.documents):
            condition = f'{_matches(_PATH, _sent(document.path))} && (req.method == "GET" || req.method == "HEAD")'
            yield from _block(condition, [f'set {_DECISION} = "document_{number}";', "return (synth(200));"])
        yield f'set {_NAME} = "";'
        yield f"set {_USER_AGENT} = regsub(req.http.User-Agent, {quote(f'(?s)^(.{{{_READ}}}).*')}, {_FIRST});"
        yield "call noai_agent;"
        yield f'set {_CLASS} = "{self.tables.class_names[""]}";'
        yield from _block(f'{_NAME} != ""', self._looked_up())
        yield from self._decided()
        yield 'set req.http.X-NoAI-Verdict = "allow";'
        for decision, name in self.tables.decisions.items():
            said = f"{quote(self.tables.says(decision))} + regsub({_LINE}, {quote(_field(2))}, {_FIRST})"
            told = [f"set req.http.X-NoAI-Verdict = {said};"] if decision.word != "allow" else []
            refuse = [f"return (synth({decision.status}));"] if decision.status else []
            if told or refuse:
                yield from _block(f'{_DECISION} == "{name}"', [*told, *refuse])
        yield from (f"unset req.http.X-NoAI-{name};" for name in _OURS if name not in ("Verdict", "Section"))

    def _decided(self) -> Iterator[str]:
        exempt = "client.ip !~ noai_exempt && " if self.plan.exempt_networks else ""
        for name, paths, decision in self.tables.rows:
            where = f" && ({self._in(paths)})" if paths else ""
            condition = f'{exempt}!{_DECISION} && {_CLASS} == "{name}"{where}'
            yield from _block(condition, [f'set {_DECISION} = "{decision}";'])

    def _in(self, paths: PathSet) -> str:
        return " || ".join(_matches(_PATH, _sent(glob)) for glob in paths.globs)

    def _section(self) -> Iterator[str]:
        for paths, number in self.plan.path_policies:
            yield from _block(
                f"!req.http.X-NoAI-Section && ({self._in(paths)})", [f'set req.http.X-NoAI-Section = "{number}";']
            )

    def _declares(self) -> Iterator[str]:
        """One line a name: those of ours that stand on several are joined, and joined with the site's own."""
        for path_policy, declared in enumerate(self.plan.compiled.declared):
            joined: dict[str, str] = {}
            for field, value in declared.fields:
                name, text = field.decode(), value.decode("ascii")
                joined[name] = f"{joined[name]}, {text}" if name in joined else text
            condition = f'req.http.X-NoAI-Section == "{path_policy}"' if path_policy else "!req.http.X-NoAI-Section"
            yield from _block(condition, (line for name, text in joined.items() for line in _declared(name, text)))

    def _synth(self) -> Iterator[str]:
        for number, document in enumerate(self.plan.documents):
            fields = [f"set resp.http.{name.decode()} = {quote(value.decode('ascii'))};"
                      for name, value in document_headers(document) if name != b"content-length"]  # fmt: skip
            body = f"synthetic({quote(document.body.decode('utf-8'))});"
            yield from _block(f'{_DECISION} == "document_{number}"', [*fields, body, "return (deliver);"])
        yield from self._declares()
        yield from self._refusals()

    def _refusals(self) -> Iterator[str]:
        declared = {field for found in self.plan.compiled.declared for field in found.fields}
        for name, decision in self.tables.refusals.items():
            fields = [
                f"set resp.http.{found.decode()} = {quote(value.decode('ascii'))};"
                for found, value in decision.headers
                if (found, value) not in declared
            ]
            who = f"regsub({_LINE}, {quote(_field(3))}, {_FIRST})"
            nobody = f"if (!{_LINE}) {{ set {_LINE} = {quote(f'{NONE}{chr(9)}{chr(9)}{_NOBODY}')}; }}"
            body = f"synthetic({who} + {quote(decision.tail)});"
            yield from _block(f'{_DECISION} == "{name}"', [*fields, nobody, body, "return (deliver);"])


def _declared(name: str, text: str) -> Iterator[str]:
    header = f"resp.http.{name}"
    if name in ("x-robots-tag", "link"):
        yield f"std.collect({header});"
        yield from _block(header, [f"set {header} = {quote(f'{text}, ')} + {header};"])
    yield from _block(f"!{header}", [f"set {header} = {quote(text)};"])


def _replacement(character: str) -> str:
    return "\\\\" if character == "\\" else character


def _sent(glob: str) -> str:
    """A glob as an expression for a path in which only ASCII was decoded."""
    pattern = glob_to_regex(glob)
    encoded = pattern.replace("\\x", "\0")
    out, parts = "", encoded.split("\0")
    for number, part in enumerate(parts):
        if number and int(part[:2], 16) > 0x7F:
            byte = part[:2]
            out += f"(?:\\x{byte}|(?i:%{byte})){part[2:]}"
        else:
            out += ("\\x" if number else "") + part
    return out


def _render(plan: TargetPlan, root: str) -> list[File]:
    text = "".join(f"{line}\n" for line in _Vcl(plan).lines())
    return [File("noai-guard.vcl", text.encode("utf-8"))]


TARGET = Target("varnish", "Varnish", frozenset(Feature) - {Feature.LINES}, _render)
