"""Compile rules/ to rules/compiled/rules.json when the package is built or installed editable.

A wheel also gets the files for operators, which stand elsewhere in the repository.
"""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileRules(BuildHookInterface):  # type: ignore[type-arg]
    """Build hook of hatchling, named in pyproject.toml."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        sys.path.insert(0, str(root))
        try:
            from noai_guard.config import compile_rules
            from noai_guard.resources import FOR_OPERATORS

            compile_rules(root / "rules")
            if self.target_name == "wheel" and version == "standard":
                for name, path in FOR_OPERATORS.items():
                    build_data["force_include"][str(root / path)] = f"noai_guard/for_operators/{name}"
        finally:
            sys.path.remove(str(root))
