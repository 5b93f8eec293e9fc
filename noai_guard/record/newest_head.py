"""The newest head of a ledger that a guard has seen, kept where it may write: after a restart, an older copy of the
ledger is whole, and only this tells that entries are missing from its end."""

import json
from contextlib import suppress
from pathlib import Path

from noai_guard.config.regular_file import read_regular_file, replace_file
from noai_guard.core.event_settings import FILES
from noai_guard.core.policy import Policy
from noai_guard.errors import Problem
from noai_guard.record.ledger import Ledger

_MAX_BYTES = 4096
_FILE_MODE = 0o640


def head_file(policy: Policy, ledger: Ledger) -> Path | None:
    """Return the file that names the newest head of a ledger: beside the lists that are refreshed, else beside the
    events; None if the policy keeps neither."""
    events = policy.events.folder if policy.events is not None and FILES in policy.events.to else ""
    folder = policy.refresh.folder or events
    # By the chain: several sites may share a folder, and a ledger may lie elsewhere after a deployment.
    return Path(folder) / f"ledger-head-{ledger.entries[0].hash[:16]}.json" if folder else None


def is_older(policy: Policy, ledger: Ledger) -> Problem | None:
    """Return a problem if a head was seen that a ledger does not hold; None if there is none, or none can be read."""
    file = head_file(policy, ledger)
    seen = _read(file) if file is not None else None
    if seen is None or seen[1] in {entry.hash for entry in ledger.entries}:
        return None
    number, head = seen[0], ledger.head
    return Problem(
        "L012",
        f"ends with entry {head.number}, and this server has seen entry {number}: an older state was put in its place",
        f"restore the newer one; if the older is meant, remove {file} and restart",
        str(ledger.folder),
    )


def remember(policy: Policy, ledger: Ledger) -> None:
    """Keep the head of a verified ledger, if it goes on from the one that was kept. Never raises: a folder that is not
    there yet, or may not be written to, is no reason to stop."""
    file = head_file(policy, ledger)
    if file is None or not file.parent.is_dir():
        return
    seen = _read(file)
    if seen is not None and (seen[1] == ledger.head.hash or is_older(policy, ledger)):
        return
    with suppress(OSError):
        replace_file(file, json.dumps({"number": ledger.head.number, "hash": ledger.head.hash}) + "\n", _FILE_MODE)


def _read(file: Path) -> tuple[int, str] | None:
    """Return number and hash of the head that was kept; None if it cannot be read."""
    try:
        data = json.loads(read_regular_file(file, _MAX_BYTES))
        number, hashed = data["number"], data["hash"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return (number, hashed) if type(number) is int and isinstance(hashed, str) else None
