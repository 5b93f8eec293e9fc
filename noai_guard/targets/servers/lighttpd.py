"""lighttpd 1.4.60 or newer with mod_magnet, which runs the judge in Lua inside the server (`targets.lua`).

A condition of the configuration finds suspects (`targets.suspects`), on whom lighttpd_request.lua decides. For
everybody lighttpd_response.lua adds the declarations. lighttpd runs a script from its beginning for each request, so
what can be prepared is kept in `package.loaded`.
"""

from collections.abc import Iterator, Sequence
from urllib.parse import quote as percent_encoded

from noai_guard import resources
from noai_guard.errors import CannotExpress
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import lua, suspects, user_agent_regex
from noai_guard.targets.lookup_tables import VERDICT_ALIASES, VERDICT_HEADER
from noai_guard.targets.plan import TargetPlan, grouped
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, head

# PCRE takes no expression that it compiles to more than 64 KiB.
_MAX_EXPRESSION = 20_000

_ASCII = r"^[\x00-\x7f]*$"


def quote(text: str) -> str:
    """Return a text as a literal string of lighttpd.conf, where only a quotation mark is escaped."""
    if not text.isprintable() or text.endswith("\\"):
        raise CannotExpress(f"lighttpd: {text!r} cannot stand in a configuration")
    return '"' + text.replace('"', '\\"') + '"'


def _requests(plan: TargetPlan, request_lua: str) -> Iterator[str]:
    """Yield the conditions on which the judge runs."""
    attract = f"magnet.attract-raw-url-to += ( {request_lua} )"
    if suspects.suspects_everybody(plan):
        yield attract
        return
    looks = suspects.first_look(plan, _MAX_EXPRESSION, decodes=True)
    looks = ["|".join(looks)] if sum(map(len, looks)) <= _MAX_EXPRESSION else looks
    # The path as lighttpd decodes it; the judge compares the target as it was sent.
    documents = user_agent_regex.trie(_document_paths(plan))
    yield "# Suspects, documents, and clients that send our header go to the judge. Everybody else is allowed."
    # lighttpd matches characters: bytes that are none match nothing, and one in any case may be a letter of ASCII.
    conditions = [f'$HTTP["user-agent"] !~ {quote(_ASCII)}']
    conditions += (f'$HTTP["user-agent"] =~ {quote(f"(?i){look}")}' for look in looks)
    conditions += [f'$HTTP["url"] =~ {quote(f"^{documents}")}'] if plan.documents else []
    conditions += [f'$REQUEST_HEADER["{name}"] =~ "."' for name in (VERDICT_HEADER, *VERDICT_ALIASES)]
    yield from (f"{'else ' * bool(number)}{each} {{ {attract} }}" for number, each in enumerate(conditions))
    yield f'else {{ setenv.set-request-header += ( "{VERDICT_HEADER}" => "allow" ) }}'


def _document_paths(plan: TargetPlan) -> list[str]:
    """Return the paths of documents, as they are and percent-encoded."""
    paths = [document.path for document in plan.documents]
    return sorted({*paths, *map(percent_encoded, paths)})


def _declared(plan: TargetPlan) -> str:
    """Return a Lua table: section -> header fields, each with its name, its lines as one value, and its lines if they
    are added to those of the site."""
    rows = []
    for number, declared in enumerate(plan.declarations):
        by_name = grouped(declared.fields, lambda field: field[0].decode("ascii"))
        # tdm-policy is left out if the site has its own tdm-reservation, so it is added before ours.
        fields = (
            _field(name, [value.decode("ascii") for _, value in lines])
            for name, lines in sorted(by_name.items(), key=lambda item: item[0] == "tdm-reservation")
        )
        rows.append(f"[{number}] = {{{', '.join(fields)}}}")
    return f"{{{', '.join(rows)}}}"


def _field(name: str, lines: Sequence[str]) -> str:
    added = f", {{{', '.join(map(lua.quote, lines))}}}" if name.encode() in REPEATABLE else ""
    joined = f"\r\n{name}: ".join(lines)
    return f"{{{lua.quote(name)}, {lua.quote(joined)}{added}}}"


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    folder = f"{root.rstrip('/')}/noai-guard"
    comment = head(plan, "lighttpd")
    configuration = resources.filled(
        "targets/servers/lighttpd.conf",
        configuration=quote(f"{folder}/lighttpd.conf"),
        requests=_requests(plan, quote(f"{folder}/request.lua")),
        response_lua=quote(f"{folder}/response.lua"),
    )
    guard_file = lua.quote(f"{folder}/guard.lua")
    request = resources.filled("targets/servers/lighttpd_request.lua", guard_file=guard_file)
    section_of = "function() return 0 end"
    if plan.path_policies:
        section_of = resources.filled("targets/servers/lighttpd_section.lua", guard_file=guard_file)
    response = resources.filled(
        "targets/servers/lighttpd_response.lua",
        declared=_declared(plan),
        section_of=section_of,
        is_document=f"{{{', '.join(f'[{lua.quote(path)}] = true' for path in _document_paths(plan))}}}",
        guard_file=guard_file,
    )
    texts = {
        "noai-guard/lighttpd.conf": f"# {comment}\n{configuration}",
        "noai-guard/guard.lua": f"-- {comment}\n{lua.guard_source(plan)}return guard\n",
        "noai-guard/request.lua": f"-- {comment}\n{request}",
        "noai-guard/response.lua": f"-- {comment}\n{response}",
    }
    return [File(path, text.encode("utf-8")) for path, text in texts.items()]


TARGET = ServerTarget("lighttpd", "lighttpd", _render, supports=USUAL | {Feature.NAMELESS}, maps_works=True)
