"""HAProxy 2.4 or newer, built with Lua, as Debian's is.

Most requests never reach Lua: for suspects alone (`noai_guard.targets.suspects`) the judge in Lua decides
(`noai_guard.targets.lua`, connected by haproxy.lua).
"""

from collections.abc import Collection, Iterator, Sequence
from urllib.parse import quote as percent_encoded

from noai_guard import resources
from noai_guard.core.model import Agent
from noai_guard.errors import CannotExpress
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import suspects
from noai_guard.targets.lookup_tables import LookupTables
from noai_guard.targets.lua import guard_source, refusals
from noai_guard.targets.lua import quote as lua_quote
from noai_guard.targets.origins import identity_notes, open_expressions, origin_refusals, rare_fields
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, head, text_file
from noai_guard.targets.work_map import WorkMap

_MAX_EXPRESSION = 15_000
"""Characters of one expression: HAProxy reads lines of a pattern file up to its buffer of 16,384 bytes."""

_MAX_ARGUMENT = 500
"""Characters of an expression on a line of the frontend; longer ones are files."""

_MAX_CONDITIONS = 4
"""Conditions on one line, with room for the paths and addresses that are spared."""

_MAX_NUMBERS = 40
"""Words of a condition, on a line of at most 64."""


def quote(text: str) -> str:
    """Return a text as one literal argument: between single quotes only the closing quote is special."""
    if not text.isprintable():
        raise CannotExpress(f"HAProxy: {text!r} holds a character that cannot stand in a configuration")
    return "'" + text.replace("'", "'\\''") + "'"


def quote_format(text: str) -> str:
    """Return a text as one argument that HAProxy reads as a log-format string."""
    return quote(text.replace("%", "%%"))


def argument(text: str) -> str:
    """Return a text as an argument of a sample fetch or a converter, within a quoted word."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Frontend:
    """The lines of frontend.cfg for one plan."""

    def __init__(self, plan: TargetPlan, root: str) -> None:
        self.plan = plan
        self.folder = f"{root.rstrip('/')}/noai-guard"
        self.suspects = [] if suspects.suspects_everybody(plan) else suspect_rows(plan, decodes=True)
        self.origins = origin_refusals(plan)
        self.rare = rare_fields(self.origins)

    def lines(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'haproxy')}"
        yield "# 1. In global:"
        yield f"#        lua-load-per-thread {quote(f'{self.folder}/guard.lua')}"
        yield "# 2. Copy these lines to the beginning of each frontend that noai-guard protects, before its own rules."
        yield "#    They change only with the policy; `--check` reports it. The catalogue is in the other files."
        yield from (f"# {note}" for note in identity_notes(self.plan))
        yield "# For a log-format: %[var(txn.noai_verdict)] is empty for agents that are allowed everywhere."
        yield from map("    http-request {}".format, self._requests())
        yield from map("    http-after-response {}".format, self._declared())

    def _requests(self) -> Iterator[str]:
        plan = self.plan
        # One look at all names costs less than an expression for each of them.
        yield "del-header '^x[^a-z0-9]noai[^a-z0-9]verdict$' -m reg if { req.hdr_names -m sub verdict }"
        yield "add-header X-NoAI-Verdict allow"
        if plan.path_policies:
            # `OPTIONS *` has no path.
            yield "set-var(txn.noai_section) str(*),lua.noai_section"
            yield "set-var(txn.noai_section) path,lua.noai_section if { path -m found }"
        if plan.documents:
            paths = sorted({quote(path) for each in plan.documents for path in (each.path, percent_encoded(each.path))})
            yield f"use-service lua.noai_document if {{ path -m str {' '.join(paths)} }} {{ method GET HEAD }}"
        yield from self._origins()
        if self.suspects:
            yield suspect_look(f"{self.folder}/suspects.map")
        # Several lines are one User-Agent to the judge, which may be too long to be read closely.
        suspect = " if { var(txn.noai_client) -m str suspect } || { req.fhdr_cnt(user-agent) gt 1 }"
        yield f"lua.noai_judge{suspect if self.suspects else ''}"
        for index, (status, fields) in enumerate(refusals(plan), 1):
            media_type = quote(dict(fields)[b"content-type"].decode("ascii"))
            others = [(name.decode("ascii"), value) for name, value in fields if name != b"content-type"]
            headers = "".join(f" hdr {name} {quote_format(value.decode())}" for name, value in others)
            text = r'lf-string "%[var(txn.noai_text)]\n"'
            condition = f"{{ var(txn.noai_refusal) -m str {index} }}"
            yield f"return status {status} content-type {media_type} {text}{headers} if {condition}"

    def _origins(self) -> Iterator[str]:
        """Yield a response for each refusal by network and header field."""
        if self.rare:
            some = " || ".join(f"{{ req.fhdr({name}) -m found }}" for name in self.rare)
            yield f"set-var(txn.noai_origin) bool(true) if {some}"
        target, path = open_expressions(self.plan)
        spared = [f"!{{ url -m reg {quote(target)} }}"]
        spared += [f"!{{ path,url_dec -m reg {quote(path)} }}"] if path else []
        if self.plan.exempt_networks:
            spared.append(f"!{{ src {' '.join(map(str, self.plan.exempt_networks))} }}")
        for number, origin in enumerate(self.origins, 1):
            conditions = ["{ var(txn.noai_origin) -m bool }"] if self.rare else []
            if origin.networks:
                conditions.append(f"{{ src -f {quote(f'{self.folder}/origin-{number}.networks')} }}")
            if origin.outside:
                conditions.append(f"!{{ src -f {quote(f'{self.folder}/outside-{number}.networks')} }}")
            for index, condition in enumerate(origin.headers, 1):
                match = "-m found"
                if len(condition.regex) > _MAX_ARGUMENT:
                    match = f"-m reg -i -f {quote(f'{self.folder}/origin-{number}-{index}.regex')}"
                elif condition.regex:
                    match = f"-m reg -i {quote(condition.regex)}"
                negation = "!" if condition.negated else ""
                conditions.append(f"{negation}{{ req.fhdr({condition.name}) {match} }}")
            while len(conditions) > _MAX_CONDITIONS:  # a line has at most 64 words
                met = f"txn.noai_origin_{number}_{len(conditions)}"
                yield f"set-var({met}) bool(true) if {' '.join(conditions[:_MAX_CONDITIONS])}"
                conditions = [f"{{ var({met}) -m bool }}", *conditions[_MAX_CONDITIONS:]]
            media_type = quote(dict(origin.fields)[b"content-type"].decode("ascii"))
            others = [(name.decode("ascii"), value) for name, value in origin.fields if name != b"content-type"]
            headers = "".join(f" hdr {name} {quote_format(value.decode())}" for name, value in others)
            text = f"string {quote(origin.text.rstrip())}\\n"
            yield (
                f"return status {origin.status} content-type {media_type} {text}{headers} "
                f"if {' '.join([*conditions, *spared])}"
            )

    def origin_files(self) -> Iterator[File]:
        for number, origin in enumerate(self.origins, 1):
            for kind, networks in (("origin", origin.networks), ("outside", origin.outside)):
                note = [f"# {origin.note}"] if origin.note else []
                if networks:
                    yield text_file(f"noai-guard/{kind}-{number}.networks", [*note, *map(str, networks)])
            for index, condition in enumerate(origin.headers, 1):
                if len(condition.regex) > _MAX_ARGUMENT:
                    yield text_file(f"noai-guard/origin-{number}-{index}.regex", [condition.regex])

    def _declared(self) -> Iterator[str]:
        """Yield each header line with the sections in which it is declared; fields of the site itself stand."""
        fields = LookupTables(self.plan).declared_fields
        sections = range(len(self.plan.declarations))
        for (name, value), having in sorted(fields.items(), key=lambda item: item[0][0] != b"tdm-policy"):
            title = name.decode("ascii")
            same = f"-m str -- {quote(value.decode('ascii'))}" if name in REPEATABLE else "-m found"
            conditions = [f"!{{ res.fhdr({title}) {same} }}"]
            if name == b"tdm-policy":
                conditions.append("!{ res.fhdr(tdm-reservation) -m found }")
            if len(having) < len(sections):
                # Responses that HAProxy sends before any rule have no section, which counts as section 0.
                listed = [section for section in sections if (section in having) is (0 not in having)]
                negation = "!" if 0 in having else ""
                numbers = f"-m str {' '.join(map(str, listed))}"
                if len(listed) > _MAX_NUMBERS:
                    numbers = f"-m reg ^({'|'.join(map(str, listed))})$"
                conditions.append(f"{negation}{{ var(txn.noai_section) {numbers} }}")
            yield f"add-header {title} {quote_format(value.decode())} if {' '.join(conditions)}"


def work_lines(works: WorkMap) -> Iterator[str]:
    """Yield the lines of the map: name in lower case, percent-encoded as in haproxy_works.lua, and number."""
    for name, number in sorted(works.keys.items()):
        yield f"{percent_encoded(name.encode().lower(), safe='').lower()} {number}"


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    frontend = Frontend(plan, root)
    comment = f"-- {head(plan, 'haproxy')}\n-- How to load it: frontend.cfg in this folder.\n"
    names = lua_quote(f"{frontend.folder}/works.map")
    lookup = resources.filled("targets/servers/haproxy_works.lua", names_file=names)
    guard = comment + guard_source(plan, lookup) + "\n" + resources.text("targets/servers/haproxy.lua")
    files = [
        text_file("noai-guard/frontend.cfg", frontend.lines()),
        File("noai-guard/guard.lua", guard.encode("utf-8")),
        *frontend.origin_files(),
        *([text_file("noai-guard/works.map", work_lines(plan.works))] if plan.works else ()),
    ]
    return [*files, text_file("noai-guard/suspects.map", frontend.suspects)] if frontend.suspects else files


def suspect_rows(plan: TargetPlan, *, decodes: bool, also: Collection[Agent] = ()) -> list[str]:
    """Return the rows of a map from a User-Agent to `suspect` or `harmless`; the first that matches counts.

    `decodes` and `also` as for `suspects.first_look`.
    """
    harmless = suspects.harmless(plan, _MAX_EXPRESSION, decodes=decodes, also=also)
    if len(harmless) == 1:
        rows = [(harmless[0], "harmless"), ("^", "suspect")]
    else:
        looks = suspects.first_look(plan, _MAX_EXPRESSION, decodes=decodes, also=also)
        rows = [*((look, "suspect") for look in looks), ("^", "harmless")]
    # A key ends at a blank.
    return [f"(?i){pattern.replace(' ', chr(92) + 'x20')} {value}" for pattern, value in rows]


def suspect_look(file: str) -> str:
    """Return the action that reads `txn.noai_client` in the map of `suspect_rows`.

    Unlike `-m reg`, map_regm keeps no results: a memory of the last 10,000 User-Agents costs more than it spares. It
    stands in no condition: there HAProxy would go on to the next line of the field, and crashes (2.6.12).
    """
    return f"set-var(txn.noai_client) {quote(f'req.fhdr(user-agent),map_regm({argument(file)})')}"


TARGET = ServerTarget(
    "haproxy", "HAProxy", _render, supports=USUAL | {Feature.ORIGINS, Feature.NAMELESS}, maps_works=True
)
