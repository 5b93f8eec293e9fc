"""The ledger as files: a folder that git can hold, or one JSON file that is its public copy.

noai-ledger/0001.json            the entries
noai-ledger/head.json            which of them is the last
noai-ledger/documents/<sha256>   what was declared
noai-ledger/withheld/0001.json   what an entry does not show to everybody
"""

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from noai_guard.config.regular_file import file_identity, read_regular_file
from noai_guard.core.path_patterns import PathMatcher
from noai_guard.core.policy import Policy
from noai_guard.core.stricter import stricter_policy
from noai_guard.errors import Problem
from noai_guard.record.canonical_policy import policy_data
from noai_guard.record.ledger import FORMAT, Entry, Kind, Ledger, LedgerInvalid, moment_of
from noai_guard.record.policy_changes import certain_changes
from noai_guard.record.withheld import Opened, marks

HEAD = "head.json"
MAX_BYTES = 64 * 1024 * 1024
"""Bytes of the largest file that is read."""
MAX_ENTRIES = 9999

_NAME_A_LEDGER = (
    "name the folder of a ledger, or its public copy (/.well-known/noai-history.json of the site); "
    "noai-guard ledger init begins one"
)

_MERGE = (
    "keep the ledger of the side that is published (git checkout --ours noai-ledger, or --theirs), then "
    "noai-guard ledger publish adds what the other side changed"
)
_NEVER_CHANGED_BY_GIT = b"* -text\n"
_CONFLICT = b"\n<<<<<<< "

_ENTRY = re.compile(r"[0-9]{4}\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TEXTS = ("kind", "time", "effective", "author", "reason", "catalogue", "previous", "key", "hash", "signature")


def read_ledger(path: str | Path) -> Ledger:
    """Return the ledger in a folder, or in a file that is the public copy. Nothing is verified yet.

    Raises LedgerInvalid, with every problem, for what is not there or has another form.
    """
    path = Path(path)
    problems: list[Problem] = []
    if not path.is_dir():
        copy = _json(path, problems)
        is_copy = isinstance(copy, dict) and copy.keys() == {"format", "head", "entries"} and copy["format"] == FORMAT
        if not is_copy or not isinstance(copy["entries"], list):
            message = problems[0].message if problems else "is no ledger"
            raise LedgerInvalid([Problem("L001", message, _NAME_A_LEDGER, str(path))])
        entries = [
            Entry(data, f"{path} entry {_named(data, position)}") for position, data in enumerate(copy["entries"], 1)
        ]
        head = copy.get("head")
    else:
        names = _names(path, problems)
        withheld = _withheld(path, problems)
        entries = [
            Entry(data, str(path / name), withheld)
            for name in names
            if (data := _json(path / name, problems)) is not None
        ]
        head = _json(path / HEAD, problems) if (path / HEAD).exists() else None
    problems += (
        Problem("L001", reason, "restore it from a copy", entry.source)
        for entry in entries
        if (reason := _problem_of_form(entry.data))
    )
    if not entries and not problems:
        problems.append(Problem("L001", "holds no entries of a ledger", _NAME_A_LEDGER, str(path)))
    if problems:
        raise LedgerInvalid(problems)
    is_folder = path.is_dir()
    return Ledger(tuple(entries), head if isinstance(head, dict) else None, path if is_folder else None)


def read_document(ledger: Ledger, name: str) -> bytes | None:
    """Return the bytes of a declared document by its SHA-256; None if it is not kept, or is another."""
    if ledger.folder is None or not _SHA256.fullmatch(name):
        return None
    try:
        body = read_regular_file(ledger.folder / "documents" / name, MAX_BYTES)
    except (OSError, ValueError):
        return None
    # git writes the line ends of Windows where it is told to (core.autocrlf), and takes them away again.
    forms = body, body.replace(b"\r\n", b"\n")
    return next((form for form in forms if sha256(form).hexdigest() == name), None)


def folder_identity(folder: Path) -> tuple[object, ...]:
    """Return what differs once an entry, the head or a withheld part was written or replaced."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ()
    files = [folder / name for name in names if name.endswith(".json")]
    return tuple((file.name, file_identity(file), file_identity(folder / "withheld" / file.name)) for file in files)


def write_entry(folder: Path, data: Mapping[str, Any], head: Mapping[str, Any], opened: Opened) -> Path:
    """Add an entry to a folder, with the head that names it. Raises OSError; FileExistsError if its number is taken.

    Both are renamed when they are written, so that a reader finds them whole.
    """
    name = f"{data['number']:04}.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".gitattributes").exists():
        (folder / ".gitattributes").write_bytes(_NEVER_CHANGED_BY_GIT)
    if (folder / name).exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder / name))
    if opened:
        (folder / "withheld").mkdir(exist_ok=True)
        _write(folder / "withheld" / name, opened)
    partial = {folder / name: folder / f".{name}.partial", folder / HEAD: folder / f".{HEAD}.partial"}
    for file, content in zip(partial.values(), (data, head), strict=True):
        _write(file, content)
    for file, written in partial.items():
        written.replace(file)
    return folder / name


def write_documents(folder: Path, bodies: Mapping[str, bytes]) -> None:
    """Keep declared documents by their SHA-256. Raises OSError."""
    (folder / "documents").mkdir(parents=True, exist_ok=True)
    for name, body in bodies.items():
        (folder / "documents" / name).write_bytes(body)


def _text(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _write(file: Path, data: Any) -> None:
    file.write_text(_text(data), encoding="utf-8")


def _named(data: Any, position: int) -> Any:
    number = data.get("number") if isinstance(data, dict) else None
    return number if type(number) is int else position


def _names(folder: Path, problems: list[Problem]) -> list[str]:
    try:
        names = sorted(name for name in os.listdir(folder) if _ENTRY.fullmatch(name))
    except OSError as error:
        problems.append(Problem("L001", f"cannot be read: {error.strerror}", "name a readable folder", str(folder)))
        return []
    return names[:MAX_ENTRIES]


def _withheld(folder: Path, problems: list[Problem]) -> Opened:
    """Return all withheld parts of a folder, by digest."""
    opened: dict[str, Mapping[str, Any]] = {}
    if (folder / "withheld").is_dir():
        for name in _names(folder / "withheld", problems):
            parts = _json(folder / "withheld" / name, problems)
            if isinstance(parts, dict):
                opened |= {key: part for key, part in parts.items() if isinstance(part, dict) and "value" in part}
    return opened


def _json(file: Path, problems: list[Problem]) -> Any:
    """Return the content of a JSON file; None, and a problem, if it cannot be read."""
    text = b""
    try:
        text = read_regular_file(file, MAX_BYTES)
        return json.loads(text, object_pairs_hook=_unique, parse_float=_no_number)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        hint = "noai-guard ledger init begins a ledger" if isinstance(error, FileNotFoundError) else "restore it"
        problems.append(Problem("L001", reason, hint, str(file)))
    except (ValueError, RecursionError):
        if _CONFLICT in b"\n" + text:
            problems.append(Problem("L001", "holds both sides of a merge in git", _MERGE, str(file)))
        else:
            problems.append(Problem("L001", "is not JSON", "restore it from a copy", str(file)))
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ValueError("a key stands twice")
    return data


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a whole number")


def _problem_of_form(data: Any) -> str:
    """Return what is wrong with the form of an entry; empty if nothing is."""
    return next(_problems_of_form(data), "")


def _problems_of_form(data: Any) -> Iterator[str]:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        yield f"is no entry of the form {FORMAT}"
        return
    if missing := [name for name in _TEXTS if not isinstance(data.get(name), str)]:
        yield f"has no {missing[0]}"
        return
    number = data.get("number")
    if type(number) is not int or not 1 <= number <= MAX_ENTRIES:
        yield "has no number"
    if data["kind"] not in set(Kind):
        yield "is of an unknown kind"
    if not all(isinstance(data.get(name, ""), str) for name in ("new_key", "timestamp", "timestamp_by")):
        yield "has a key or timestamp of another form"
    for name in ("changes", "loosening"):
        if not isinstance(data.get(name), list) or not all(isinstance(each, str) for each in data[name]):
            yield f"has no {name}"
    declared = data.get("declarations")
    if not isinstance(declared, dict) or not all(isinstance(declared.get(k), dict) for k in ("documents", "headers")):
        yield "has no declarations"
    elif not all(
        isinstance(each, dict) and isinstance(each.get("sha256"), str) for each in declared["documents"].values()
    ):
        yield "has a document without a digest"
    elif not all(
        isinstance(each, list) and all(isinstance(line, str) for line in each) for each in declared["headers"].values()
    ):
        yield "has header lines of another form"
    try:
        moment_of(data["time"]), moment_of(data["effective"])
    except ValueError:
        yield "has no time of the form 2026-11-30T12:00:00Z"
    try:
        marks(data["policy"])
        _use(Entry(data).public_policy)
        Entry(data).computed_hash()
    except Exception:  # a hostile entry may hold anything
        yield "holds no policy that can be read"


def _use(policy: Policy) -> None:
    """Do all that readers of a ledger do with a policy. Raises whatever they would."""
    policy.declares("")
    for patterns in ([each.pattern for each in policy.path_policies], policy.exemptions.paths):
        PathMatcher(patterns)
    for rule in policy.rules:
        PathMatcher(rule.paths)
    policy_data(stricter_policy([policy, policy]))
    tuple(certain_changes(policy, policy))
