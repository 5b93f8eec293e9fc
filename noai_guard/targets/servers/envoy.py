"""Envoy, whose Lua filter runs the judge (`noai_guard.targets.lua`, connected by envoy.lua)."""

from collections.abc import Sequence

from noai_guard import resources
from noai_guard.errors import CannotExpress
from noai_guard.targets.lua import guard_source
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import USUAL, Feature, File, ServerTarget, head

LOST_USER_AGENT = "targets/servers/envoy_lost_user_agent.lua"
"""Lua for who asks in front of Envoy's filters: `lost_user_agent`, with the header that it needs."""


def quote(text: str) -> str:
    """Return a text as a literal YAML string. Raise CannotExpress for half of a surrogate pair."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise CannotExpress("Envoy: half of a surrogate pair cannot stand in a configuration")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    guard_file = quote(f"{root.rstrip('/')}/noai-guard/guard.lua")
    comment = head(plan, "envoy")
    filters = f"# {comment}\n{resources.filled('targets/servers/envoy.yaml', guard_file=guard_file)}"
    parts = (guard_source(plan), *map(resources.text, (LOST_USER_AGENT, "targets/servers/envoy.lua")))
    guard = "\n".join((f"-- {comment}", *parts))
    return [
        File("noai-guard/filter.yaml", filters.encode("utf-8")),
        File("noai-guard/guard.lua", guard.encode("utf-8")),
    ]


TARGET = ServerTarget("envoy", "Envoy", _render, supports=USUAL | {Feature.NAMELESS}, maps_works=True)
