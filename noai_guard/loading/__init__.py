"""Files -> objects. The only room that reads YAML, and it reads it only when it has to.

The packaged catalogue and stances are compiled to one JSON file when the package is built
(`rules/compiled/rules.json`). It carries a digest of the YAML files it came from, which is checked at each
load: an edited catalogue is read from its YAML, more slowly, never from a stale file.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noai_guard.catalog import Catalog
from noai_guard.errors import PolicyInvalid, Problem
from noai_guard.loading.build import agent_from, build_policy, merged
from noai_guard.policy import Policy

_FORMAT = 1
"""Raised when the shape of the compiled file changes."""


def rules_folder() -> Path:
    """Where rules/ is: inside the installed package, or beside pyproject.toml in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "rules"
    return inside if inside.is_dir() else package.parent / "rules"


def _sources(rules: Path) -> list[Path]:
    return [*sorted((rules / "agents").glob("*.yaml")), *sorted((rules / "policies").glob("*.yaml"))]


def _digest(rules: Path) -> str:
    digest = hashlib.sha256(str(_FORMAT).encode())
    for file in _sources(rules):
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def compile_rules(rules: Path | None = None) -> Path:
    """Reads rules/agents and rules/policies and writes rules/compiled/rules.json; returns its path.

    Raises CatalogInvalid or PolicyInvalid with every problem.
    """
    rules = rules or rules_folder()
    target = rules / "compiled" / "rules.json"
    target.parent.mkdir(exist_ok=True)
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(_read_rules(rules), separators=(",", ":")), encoding="utf-8")
    partial.replace(target)
    return target


def _read_rules(rules: Path) -> dict[str, Any]:
    from noai_guard.loading.catalog_files import read_agent_files
    from noai_guard.loading.policy_file import STANCES, read_policy

    stances: dict[str, Any] = {}
    for name in STANCES:
        file = rules / "policies" / f"{name}.yaml"
        stances[name], log = read_policy(file.read_bytes(), file.name)
        if log.problems:
            raise PolicyInvalid(log.problems)
    entries = read_agent_files(file for file in _sources(rules) if file.parent.name == "agents")
    kept = [
        {key: value for key, value in entry.items() if key not in ("samples", "sources")} for entry in entries
    ]
    return {"digest": _digest(rules), "agents": kept, "stances": stances}


_loaded: dict[Path, tuple[Mapping[str, Any], Catalog]] = {}


def _rules(rules: Path | None) -> tuple[Mapping[str, Any], Catalog]:
    folder = rules or rules_folder()
    if folder not in _loaded:
        compiled = folder / "compiled" / "rules.json"
        data: dict[str, Any] = {}
        if compiled.is_file():
            try:
                data = json.loads(compiled.read_bytes())
            except ValueError:
                data = {}
        digest = _digest(folder)
        if not isinstance(data, dict) or data.get("digest") != digest:
            data = _read_rules(folder)
        catalog = Catalog(map(agent_from, data["agents"]), digest[:12])
        _loaded[folder] = data, catalog
    return _loaded[folder]


def load_catalog(rules: Path | None = None) -> Catalog:
    """The packaged catalogue, or the one in another rules folder. Read once per process."""
    return _rules(rules)[1]


def load_stance(name: str = "no-ai") -> Policy:
    """A packaged stance: no-ai, no-training or search-only."""
    return build_policy(_rules(None)[0]["stances"][name], name)


def load_policy(file: str | Path) -> Policy:
    """A site's noai.yaml. Raises PolicyInvalid with every problem when any is more than a warning."""
    policy, problems = check_policy(file)
    if policy is None:
        raise PolicyInvalid(problem for problem in problems if not problem.warning)
    return policy


def check_policy(file: str | Path) -> tuple[Policy | None, tuple[Problem, ...]]:
    """A site's noai.yaml -> the policy (None when it cannot be used) and every problem and warning."""
    path = Path(file)
    try:
        with path.open("rb") as stream:
            text = stream.read(1024 * 1024 + 1)
    except OSError as error:
        hint = "noai-guard init writes one"
        return None, (Problem("P001", f"cannot be read: {error.strerror}", hint, str(file)),)
    return check_policy_text(text, str(file))


def check_policy_text(text: bytes, file: str = "noai.yaml") -> tuple[Policy | None, tuple[Problem, ...]]:
    """As `check_policy`, for text at hand."""
    from noai_guard.loading.policy_file import look_over, read_policy

    rules, catalog = _rules(None)
    said, log = read_policy(text, file)
    look_over(said, catalog, log)
    problems = tuple(sorted(log.problems, key=lambda p: (p.line, p.column, p.code)))
    if any(not problem.warning for problem in problems):
        return None, problems
    stance = said.get("extends", "no-ai")
    return build_policy(merged(rules["stances"][stance], said), stance), problems

