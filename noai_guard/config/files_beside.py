"""Files and folders that a policy names: lists of networks, databases of autonomous systems, the site's own agents.

Names are relative to the folder of the policy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from noai_guard.config.catalogue_schema import read_own_agents_file
from noai_guard.config.regular_file import file_identity, read_regular_file
from noai_guard.config.scalars import network
from noai_guard.config.schema_types import Rejection
from noai_guard.config.yaml_nodes import ProblemLog, printable
from noai_guard.core.networks import Network, NetworkSet
from noai_guard.errors import MissingExtra, Problem

MAX_NETWORKS = 200_000
_MAX_LIST_BYTES = 16 * 1024 * 1024
_MAX_DATABASE_BYTES = 512 * 1024 * 1024
_MAX_RECORDS = 8_000_000
"""Networks in a database, of which the largest free one has 0.7 million (2026-11): a damaged one may have no end."""

_MAX_FILES = 200
_MAX_PROBLEMS = 20


@dataclass(slots=True)
class FilesBeside:
    """What the files beside a policy hold, agents with the file of each.

    `files` are the paths of all that were looked at, good or not.
    """

    networks: dict[str, NetworkSet] = field(default_factory=dict)
    agents: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_files_beside(data: Mapping[str, Any], log: ProblemLog, folder: Path) -> FilesBeside:
    """Read what the plain data of a policy names. Mistakes in the policy itself go to its log."""
    beside = FilesBeside()
    for name, given in (data.get("networks") or {}).items():
        if log.is_valid("networks", name):
            beside.networks[name] = _networks(name, given, folder, beside)
    if (directory := data.get("agents_dir")) and log.is_valid("agents_dir"):
        _read_agents(folder / directory, beside)
    return beside


def _networks(name: str, given: Any, folder: Path, beside: FilesBeside) -> NetworkSet:
    if not isinstance(given, Mapping):
        return NetworkSet(given)
    path = folder / given.get("file", given.get("database"))
    beside.files.append(str(path))
    try:
        if "file" in given:
            networks, problems = read_network_list(path)
        else:
            networks, problems = _networks_of(path, frozenset(given["asn"]), file_identity(path)), ()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = Problem("P001", f"cannot be read: {reason}", "name a file beside the policy", str(path))
        networks, problems = NetworkSet(), (problem,)
    except _BadDatabase as error:
        networks, problems = NetworkSet(), (Problem("P030", str(error), error.hint, str(path)),)
    beside.problems += problems
    if not networks and not problems:
        message = f"networks.{name} is empty: its rules hold for nobody"
        beside.problems.append(Problem("P021", message, "put networks into the file", str(path), warning=True))
    return networks


def read_network_list(file: Path) -> tuple[NetworkSet, tuple[Problem, ...]]:
    """Return the networks of a file with one a line, and its problems. `#` and `;` begin a comment.

    Raises OSError or ValueError if the file cannot be read.
    """
    content = read_regular_file(file, _MAX_LIST_BYTES + 1)

    def problem(code: str, message: str, hint: str, line: int = 0) -> Problem:
        return Problem(code, message, hint, str(file), line)

    if len(content) > _MAX_LIST_BYTES:
        return NetworkSet(), (problem("P001", "the file is larger than 16 MiB", f"at most {MAX_NETWORKS} networks"),)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return NetworkSet(), (problem("P002", "the file is not UTF-8 text", "write one network a line"),)
    if "\0" in text:
        return NetworkSet(), (problem("P002", "the file is binary", "write one network a line"),)
    lines = text.splitlines()
    listed = [line.partition("#")[0].partition(";")[0].strip() for line in lines]
    networks = [line for line in listed if line]
    if len(networks) > MAX_NETWORKS:
        message = f"{len(networks)} networks, more than {MAX_NETWORKS}"
        return NetworkSet(), (problem("P008", message, "merge neighbouring ones"),)
    try:
        if not any(line.endswith("/0") for line in networks):
            return NetworkSet(networks), ()
    except ValueError:
        pass
    problems: list[Problem] = []
    for number, line in enumerate(listed, 1):
        read = network(line) if line else ""
        if isinstance(read, Rejection):
            if len(problems) == _MAX_PROBLEMS:
                problems.append(problem("P023", "there are more problems than these", "mend these first", number))
                break
            problems.append(problem(*read, number))
    return NetworkSet(), tuple(problems)


class _BadDatabase(Exception):
    """Raised for a database of autonomous systems that cannot be used."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@lru_cache(maxsize=8)
def _networks_of(file: Path, numbers: frozenset[int], identity: tuple[object, ...]) -> NetworkSet:
    """Return the networks of autonomous systems in a database; `identity` differs once the file has changed.

    Looks at every network of the file, so that rules and generated configuration see plain networks.
    """
    if not identity:
        read_regular_file(file, 1)  # raises what is wrong with it
        raise OSError("it was replaced while it was read")
    if isinstance(identity[3], int) and identity[3] > _MAX_DATABASE_BYTES:
        raise _BadDatabase("the database is larger than 512 MiB", "use one of autonomous systems only")
    try:
        import maxminddb
    except ImportError:
        raise _BadDatabase("maxminddb is not installed", str(MissingExtra("identity", "maxminddb"))) from None
    found: list[Network] = []
    try:
        with maxminddb.open_database(file) as reader:
            for count, (listed, record) in enumerate(reader):
                if count == _MAX_RECORDS or len(found) > MAX_NETWORKS:
                    raise _BadDatabase(f"more than {MAX_NETWORKS} networks", "name fewer autonomous systems")
                if _asn(record) in numbers:
                    found.append(listed)
    except (maxminddb.InvalidDatabaseError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise _BadDatabase(f"not a database in MaxMind's format: {printable(str(error))}", "use an ASN one") from None
    return NetworkSet(found)


def _asn(record: object) -> int | None:
    """Return the autonomous system in a record of GeoLite2 ASN, DB-IP or IPinfo, which writes `AS64500`."""
    if not isinstance(record, Mapping):
        return None
    number = record.get("autonomous_system_number", record.get("asn"))
    if isinstance(number, str):
        number = int(number[2:]) if number[:2] == "AS" and number[2:].isdecimal() else None
    return number if isinstance(number, int) else None


def _read_agents(folder: Path, beside: FilesBeside) -> None:
    beside.files.append(str(folder))
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix == ".yaml" and not file.name.startswith("."))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "agents_dir names a folder beside the policy"
        beside.problems.append(Problem("P001", f"cannot be read: {reason}", hint, str(folder)))
        return
    if len(files) > _MAX_FILES:
        message, hint = f"more than {_MAX_FILES} files", "one file may hold several agents"
        beside.problems.append(Problem("P008", message, hint, str(folder)))
        return
    for file in files:
        beside.files.append(str(file))
        entries, problems = read_own_agents_file(file)
        beside.agents += ((str(file), entry) for entry in entries)
        beside.problems += problems


def file_identities(files: Iterable[str]) -> dict[str, tuple[object, ...]]:
    """Return what differs once a file, or the list of files in a folder, has changed, for each of these."""
    return {file: file_identity(file) or _names_in(file) for file in files}


def _names_in(folder: str) -> tuple[object, ...]:
    try:
        return tuple(sorted(entry.name for entry in Path(folder).iterdir()))
    except (OSError, ValueError):
        return ()
