"""Text files inside the package: Lua, configuration templates, pages and styles, where editors and linters read them.

A placeholder is a name in capitals between double underscores, `__POLICY_PAGE__`: an identifier in most languages, so
that a template is still valid in its own.
"""

import re
from functools import cache
from importlib.resources import files

_PLACEHOLDER = re.compile(r"__([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)__")


@cache
def text(name: str) -> str:
    """Return the text of a file below `noai_guard/`, for example `targets/lua/judge.lua`. UTF-8, lines end in LF."""
    return files("noai_guard").joinpath(name).read_text(encoding="utf-8")


def filled(name: str, **values: str) -> str:
    """Return the text of a file with `__NAME__` replaced by `values["name"]`, everywhere.

    Raises KeyError for a placeholder without a value and for a value without a placeholder.
    """
    template = text(name)
    unused = set(values) - {found.lower() for found in _PLACEHOLDER.findall(template)}
    if unused:
        raise KeyError(f"{name} has no placeholder for {', '.join(sorted(unused))}")
    return _PLACEHOLDER.sub(lambda found: values[found[1].lower()], template)
