"""Compile rules/ to rules/compiled/rules.json when the package is built or installed editable."""

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

            compile_rules(root / "rules")
        finally:
            sys.path.remove(str(root))
