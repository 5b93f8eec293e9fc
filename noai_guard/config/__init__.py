"""Files -> objects. The only room that reads YAML, and it reads it only when it has to.

The packaged catalogue and stances are compiled to one JSON file when the package is built
(`rules/compiled/rules.json`). It carries a digest of the YAML files it came from, which is checked at each
load: an edited catalogue is read from its YAML, more slowly, never from a stale file.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noai_guard.config.build import agent_from, build_policy, merged
from noai_guard.core.catalog import Catalog
from noai_guard.core.policy import Policy
from noai_guard.errors import CatalogInvalid, PolicyInvalid, Problem

_FORMAT = 2
"""Raised when the shape of the compiled file changes."""


def rules_folder() -> Path:
    """Where rules/ is: inside the installed package, or beside pyproject.toml in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "rules"
    return inside if inside.is_dir() else package.parent / "rules"


def _sources(rules: Path, folder: str) -> list[str]:
    """The YAML files of one folder of rules/, sorted."""
    # No Path objects: with 900 files they cost more than reading (20 ms, measured 2026-11-23).
    where = str(rules / folder)
    try:
        return [f"{where}/{name}" for name in sorted(os.listdir(where)) if name.endswith(".yaml")]
    except OSError as error:
        problem = Problem("P001", f"cannot be read: {error.strerror}", "reinstall noai-guard", where)
        raise CatalogInvalid([problem]) from None


def _digest(rules: Path) -> str:
    digest = hashlib.sha256(str(_FORMAT).encode())
    for folder in ("agents", "policies"):
        for file in _sources(rules, folder):
            with open(file, "rb", buffering=0) as stream:
                content = stream.read()
            digest.update(f"{file[file.rindex('/') :]} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def compile_rules(rules: Path | None = None) -> Path:
    """Reads rules/agents and rules/policies and writes rules/compiled/rules.json; returns its path.

    Raises CatalogInvalid or PolicyInvalid with every problem.
    """
    rules = rules or rules_folder()
    target = rules / "compiled" / "rules.json"
    target.parent.mkdir(exist_ok=True)
    partial = target.with_suffix(".partial")
    body = json.dumps(_read_rules(rules), separators=(",", ":")).encode()
    partial.write_bytes(_head(_digest(rules), body) + body)
    partial.replace(target)
    return target


def _head(digest: str, body: bytes) -> bytes:
    """The first line of the compiled file: what it was made from, and what it must hold."""
    return f"{digest} {hashlib.sha256(body).hexdigest()}\n".encode()


def _compiled(rules: Path, digest: str) -> dict[str, Any] | None:
    """What the compiled file holds; None when it is missing, damaged or made from other files."""
    try:
        head, _, body = (rules / "compiled" / "rules.json").read_bytes().partition(b"\n")
    except OSError:
        return None
    if head + b"\n" != _head(digest, body):
        return None
    data: dict[str, Any] = json.loads(body)
    return data


def _read_rules(rules: Path) -> dict[str, Any]:
    from noai_guard.config.catalogue_schema import read_agent_files
    from noai_guard.config.policy_schema import STANCES, read_policy

    stances: dict[str, Any] = {}
    for name in STANCES:
        file = rules / "policies" / f"{name}.yaml"
        try:
            stances[name], log = read_policy(file.read_bytes(), file.name)
        except OSError as error:
            raise PolicyInvalid([Problem("P001", f"cannot be read: {error.strerror}", file=str(file))]) from None
        if log.problems:
            raise PolicyInvalid(log.problems)
    entries = read_agent_files(map(Path, _sources(rules, "agents")))
    kept = [{key: value for key, value in entry.items() if key not in ("samples", "sources")} for entry in entries]
    return {"agents": kept, "stances": stances}


_loaded: dict[Path, tuple[Mapping[str, Any], Catalog]] = {}


def _rules(rules: Path | None) -> tuple[Mapping[str, Any], Catalog]:
    folder = rules or rules_folder()
    if folder not in _loaded:
        digest = _digest(folder)
        data = _compiled(folder, digest) or _read_rules(folder)
        _loaded[folder] = data, Catalog(map(agent_from, data["agents"]), digest[:12])
    return _loaded[folder]


def load_catalog(rules: Path | None = None) -> Catalog:
    """The packaged catalogue, or the one in another rules folder. Read once per process.

    Raises CatalogInvalid or PolicyInvalid, with every problem, when the folder cannot be used.
    """
    return _rules(rules)[1]


def sample_user_agent(agent: str = "", source: str = "") -> str:
    """A real user agent: of an agent, from its file `rules/agents/<source>.yaml`; without a name, of a browser.

    Raises CatalogInvalid when the file cannot be used.
    """
    from noai_guard.config.catalogue_schema import read_agent_files, read_browsers, samples_from

    rules = rules_folder()
    if not agent:
        return next(iter(read_browsers(rules / "browsers.yaml").values()))[0]
    entries = read_agent_files([rules / "agents" / f"{source}.yaml"])
    return next(samples_from(entry).match[0] for entry in entries if entry["name"] == agent)


def load_stance(name: str = "no-ai") -> Policy:
    """A packaged stance: no-ai, no-training or search-only. Raises PolicyInvalid for any other name."""
    stances = _rules(None)[0]["stances"]
    if name not in stances:
        raise PolicyInvalid([Problem("P009", f"unknown stance {name!r}", f"one of {', '.join(stances)}")])
    return build_policy(stances[name], name)


def load_policy(file: str | Path) -> Policy:
    """A site's noai.yaml. Raises PolicyInvalid with every problem when any is more than a warning."""
    policy, problems = check_policy(file)
    if policy is None:
        raise PolicyInvalid(problem for problem in problems if not problem.warning)
    return policy


def check_policy(file: str | Path) -> tuple[Policy | None, tuple[Problem, ...]]:
    """A site's noai.yaml -> the policy (None when it cannot be used) and every problem and warning."""
    from noai_guard.config.yaml_nodes import MOST_BYTES

    try:
        with Path(file).open("rb") as stream:
            text = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        stances = _rules(None)[0]["stances"]
        hint = f"write a file that says extends: {file}" if str(file) in stances else "`noai-guard init` writes one"
        return None, (Problem("P001", f"cannot be read: {why}", hint, str(file)),)
    return check_policy_text(text, str(file))


def check_policy_text(text: bytes, file: str = "noai.yaml") -> tuple[Policy | None, tuple[Problem, ...]]:
    """As `check_policy`, for text at hand. Never raises, whatever the text is."""
    from noai_guard.config.policy_schema import read_policy

    rules, catalog = _rules(None)
    said, log = read_policy(text, file, catalog)
    problems = tuple(sorted(log.problems, key=lambda p: (p.line, p.column, p.code)))
    if not log.sound():
        return None, problems
    stance = said.get("extends", "no-ai")
    return build_policy(merged(rules["stances"][stance], said), stance), problems
