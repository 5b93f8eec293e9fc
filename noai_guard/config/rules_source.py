"""The folder rules/: YAML files of the catalogue and the stances, and the same compiled to one JSON file.

The JSON file (`compiled/rules.json`) is made when the package is built. It carries a digest of the YAML files it came
from, which is checked at each load: edited rules are read from their YAML, more slowly, never from a stale file.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noai_guard.config.build import agent_from, ranges_from
from noai_guard.config.regular_file import read_regular_file
from noai_guard.core.catalog import Catalog
from noai_guard.errors import CatalogInvalid, PolicyInvalid, Problem

_FORMAT = 3
"""Raised when the shape of the compiled file changes."""

_MAX_BYTES = 64 * 1024 * 1024
"""Maximum size of one file. The compiled rules are 250 KB (2026-11)."""


_OPTIONAL = frozenset({"ranges"})
"""Folders that a folder of rules need not have."""


@dataclass(frozen=True, slots=True)
class _Rules:
    digest: str
    catalog: Catalog
    stances: Mapping[str, Mapping[str, Any]]


class RulesSource:
    """A folder of rules and what was last read from it. Nothing is read before it is needed.

    Reading raises CatalogInvalid or PolicyInvalid, with every problem, when the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last: _Rules | None = None

    @property
    def catalog(self) -> Catalog:
        """The catalogue as it was last read."""
        return self._rules().catalog

    @property
    def stances(self) -> Mapping[str, Mapping[str, Any]]:
        """The packaged stances by name, as plain data, as they were last read."""
        return self._rules().stances

    def reload(self) -> bool:
        """Read the files again if they changed since the last time; return True if they did.

        Compares their contents, which takes about 20 ms. When it raises, what was read before stays.
        """
        digest = _digest(self.folder)
        if self._last is not None and self._last.digest == digest:
            return False
        self._read(digest)
        return True

    def _rules(self) -> _Rules:
        return self._last or self._read(_digest(self.folder))

    def _read(self, digest: str) -> _Rules:
        data = _compiled(self.folder, digest) or _read_yaml(self.folder)
        self._last = _Rules(digest, _catalog(data, digest[:12]), data["stances"])
        return self._last


def _catalog(data: Mapping[str, Any], version: str) -> Catalog:
    ranges = map(ranges_from, data["ranges"])
    return Catalog(map(agent_from, data["agents"]), version, {each.uri: each for each in ranges})


def compile_rules(folder: Path) -> Path:
    """Read agents/, ranges/ and policies/ in a folder, write compiled/rules.json, and return its path.

    Raises CatalogInvalid or PolicyInvalid with every problem.
    """
    target = folder / "compiled" / "rules.json"
    target.parent.mkdir(exist_ok=True)
    partial = target.with_suffix(".partial")
    body = json.dumps(_read_yaml(folder), separators=(",", ":")).encode()
    partial.write_bytes(_head(_digest(folder), body) + body)
    partial.replace(target)
    return target


def _yaml_files(folder: Path, name: str) -> list[str]:
    # No Path objects: with 900 files they cost more than reading (20 ms, measured 2026-11-23).
    path = str(folder / name)
    try:
        return [f"{path}/{file}" for file in sorted(os.listdir(path)) if file.endswith(".yaml")]
    except OSError as error:
        if name in _OPTIONAL and isinstance(error, FileNotFoundError):
            return []
        problem = Problem("P001", f"cannot be read: {error.strerror}", "reinstall noai-guard", path)
        raise CatalogInvalid([problem]) from None


def _digest(folder: Path) -> str:
    """Return a hash of the names and contents of all files that the rules are made from."""
    digest = hashlib.sha256(str(_FORMAT).encode())
    for name in ("agents", "policies", "ranges"):
        for file in _yaml_files(folder, name):
            content = _content(file)
            digest.update(f"{file[file.rindex('/') :]} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _content(file: str) -> bytes:
    try:
        return read_regular_file(file, _MAX_BYTES)
    except OSError as error:
        raise CatalogInvalid([Problem("P001", f"cannot be read: {error.strerror}", file=file)]) from None


def _head(digest: str, body: bytes) -> bytes:
    """Return the first line of the compiled file: the digest of its sources and that of its body."""
    return f"{digest} {hashlib.sha256(body).hexdigest()}\n".encode()


def _compiled(folder: Path, digest: str) -> dict[str, Any] | None:
    """Return the content of the compiled file, or None if it is missing, damaged or made from other files."""
    try:
        head, _, body = read_regular_file(folder / "compiled" / "rules.json", _MAX_BYTES).partition(b"\n")
    except OSError:
        return None
    if head + b"\n" != _head(digest, body):
        return None
    data: dict[str, Any] = json.loads(body)
    return data


def _read_yaml(folder: Path) -> dict[str, Any]:
    # Only here, so that PyYAML is not imported while the compiled file is current.
    from noai_guard.config.catalogue_schema import read_agent_files, read_ranges_files
    from noai_guard.config.policy_schema import STANCES, read_policy

    stances: dict[str, Any] = {}
    for name in STANCES:
        file = folder / "policies" / f"{name}.yaml"
        try:
            stances[name], log = read_policy(read_regular_file(file, _MAX_BYTES), file.name)
        except OSError as error:
            raise PolicyInvalid([Problem("P001", f"cannot be read: {error.strerror}", file=str(file))]) from None
        if log.problems:
            raise PolicyInvalid(log.problems)
    entries = read_agent_files(map(Path, _yaml_files(folder, "agents")))
    agents = [{key: value for key, value in entry.items() if key not in ("samples", "sources")} for entry in entries]
    ranges = read_ranges_files(map(Path, _yaml_files(folder, "ranges")))
    return {"agents": agents, "ranges": ranges, "stances": stances}
