"""Names of other packages that an adapter relies on: its docstring lists them in backquotes."""

import ast
import re
from pathlib import Path
from types import ModuleType

import noai_guard

_PACKAGE = Path(noai_guard.__file__).parent
_VERSION = re.compile(r"read in\s(\d+\.\d+)")


def listed_names(adapter: ModuleType) -> set[str]:
    """Return the last part of each name that the adapter's docstring lists."""
    bullets = (adapter.__doc__ or "").partition("\n- ")[2].rpartition("\n\n")[0]
    quoted = re.findall(r"`([\w.]+)[`(]", bullets)
    return {name.rpartition(".")[2] for name in quoted}


def minor_version(adapter: ModuleType) -> str:
    """Return the minor version that the adapter's docstring says it was written for."""
    match = _VERSION.search(adapter.__doc__ or "")
    assert match is not None
    return match[1]


def used_beside(adapter: ModuleType, names: set[str]) -> dict[str, set[str]]:
    """Return modules that import the adapter and have an attribute or a method of these names themselves."""
    users = {}
    for file in _PACKAGE.rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        if f"from {adapter.__name__} import" not in source:
            continue
        tree = ast.parse(source)
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        methods = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        users[str(file.relative_to(_PACKAGE))] = names & (attributes | methods)
    return users
