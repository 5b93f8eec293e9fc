"""lighttpd 1.4.60 or newer with mod_magnet, which runs the judge in Lua inside the server (`targets.lua`).

lighttpd_request.lua decides on requests, lighttpd_response.lua adds the declarations.
"""

from collections.abc import Sequence

from noai_guard import resources
from noai_guard.errors import CannotExpress
from noai_guard.targets import lua
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, head


def quote(text: str) -> str:
    """Return a text as a literal string of lighttpd.conf, where only a quotation mark is escaped."""
    if not text.isprintable() or text.endswith("\\"):
        raise CannotExpress(f"lighttpd: {text!r} cannot stand in a configuration")
    return '"' + text.replace('"', '\\"') + '"'


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    folder = f"{root.rstrip('/')}/noai-guard"
    comment = head(plan, "lighttpd")
    configuration = resources.filled(
        "targets/servers/lighttpd.conf",
        configuration=quote(f"{folder}/lighttpd.conf"),
        request_lua=quote(f"{folder}/request.lua"),
        response_lua=quote(f"{folder}/response.lua"),
    )
    request = resources.filled("targets/servers/lighttpd_request.lua", guard_file=lua.quote(f"{folder}/guard.lua"))
    response = resources.filled("targets/servers/lighttpd_response.lua", declared=lua.declared(plan))
    texts = {
        "noai-guard/lighttpd.conf": f"# {comment}\n{configuration}",
        "noai-guard/guard.lua": f"-- {comment}\n{lua.guard_source(plan)}return guard\n",
        "noai-guard/request.lua": f"-- {comment}\n{request}",
        "noai-guard/response.lua": f"-- {comment}\n{response}",
    }
    return [File(path, text.encode("utf-8")) for path, text in texts.items()]


TARGET = ServerTarget("lighttpd", "lighttpd", _render, supports=USUAL | {Feature.NAMELESS})
