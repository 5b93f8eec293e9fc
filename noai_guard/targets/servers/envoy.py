"""Envoy, whose Lua filter runs the judge (`noai_guard.targets.lua`, connected by envoy.lua)."""

from collections.abc import Sequence

from noai_guard import resources
from noai_guard.errors import CannotExpress
from noai_guard.targets.lua import guard_source
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import File, ServerTarget, head

_ESCAPES = {'"': '\\"', "\\": "\\\\"}


def quote(text: str) -> str:
    """Return a text as a literal YAML string."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    if "\ud800" <= character <= "\udfff":
        raise CannotExpress("Envoy: half of a surrogate pair cannot stand in a configuration")
    return f"\\U{ord(character):08x}"


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    guard_file = quote(f"{root.rstrip('/')}/noai-guard/guard.lua")
    comment = head(plan, "envoy")
    filters = f"# {comment}\n{resources.filled('targets/servers/envoy.yaml', guard_file=guard_file)}"
    guard = f"-- {comment}\n{guard_source(plan)}\n{resources.text('targets/servers/envoy.lua')}"
    return [
        File("noai-guard/filter.yaml", filters.encode("utf-8")),
        File("noai-guard/guard.lua", guard.encode("utf-8")),
    ]


TARGET = ServerTarget("envoy", "Envoy", _render)
