"""Keys of operators that sign their requests (Web Bot Auth), kept beside the events that they have proved.

`signing-keys/2026-11-29-1f2e3d4c5b6a7988-8897a6b5c4d3e2f1.json` holds the keys that one directory published on that
day: the middle of the name stands for its address, the end for its keys. A file is written by whichever process reads
the directory first.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

from noai_guard.config.regular_file import read_regular_file, replace_file
from noai_guard.core.identity.signing_keys import PublicKey, thumbprint

KEPT_KEYS_FOLDER = "signing-keys"

_MAX_BYTES = 1024 * 1024
_FILE_MODE, _FOLDER_MODE = 0o640, 0o750
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)-([0-9a-f]{16})-[0-9a-f]{16}\.json", re.ASCII)
_MAX_A_DAY = 24
"""Files of one directory for one day: as many as there are hours in which its keys may be read again."""

_LAST_MOMENT = 253_402_300_799
"""The end of the year 9999, in seconds since 1970."""


def keep_keys(folder: Path, directory: str, keys: Mapping[str, PublicKey], now: datetime) -> None:
    """Write the keys that the directory at an address publishes, unless this day has them, or has been told of too many
    others. Raises OSError."""
    listed = [_described(keys[name]) for name in sorted(keys)]
    begin = f"{now:%Y-%m-%d}-{_short(directory)}-"
    path = folder / KEPT_KEYS_FOLDER / f"{begin}{_short(json.dumps(listed))}.json"
    if path.exists() or len(list(path.parent.glob(f"{begin}*"))) >= _MAX_A_DAY:
        return
    path.parent.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
    content = {"directory": directory, "read": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "keys": listed}
    replace_file(path, json.dumps(content, indent=1) + "\n", _FILE_MODE)


def kept_keys(folders: Iterable[Path], first: date, last: date) -> list[dict[str, Any]]:
    """Return what directories published from one day to another, and what each had published last before.

    What cannot be read is left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        before: dict[str, str] = {}
        for name, day, directory in _files(folder):
            if day > last.isoformat():
                continue
            if day < first.isoformat():
                found.pop(before.get(directory, ""), None)
                before[directory] = name
            with suppress(OSError, ValueError):
                data = json.loads(read_regular_file(folder / KEPT_KEYS_FOLDER / name, _MAX_BYTES))
                if is_key_set(data):
                    found[name] = data
    return [found[name] for name in sorted(found)]


def remove_kept_keys(folder: Path, before: date) -> list[Path]:
    """Remove what was read before a day, but for the last of each directory, which may be in use. Raises OSError."""
    last = {directory: name for name, _, directory in _files(folder)}
    removed = []
    for name, day, directory in _files(folder):
        if day < before.isoformat() and last[directory] != name:
            path = folder / KEPT_KEYS_FOLDER / name
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def is_key_set(data: object) -> bool:
    """Return True if this is what `keep_keys` writes, and each key has the thumbprint that it names."""
    if not isinstance(data, dict) or not isinstance(data.get("keys"), list):
        return False
    return isinstance(data.get("directory"), str) and all(map(_has_its_thumbprint, data["keys"]))


def _has_its_thumbprint(key: object) -> bool:
    members = key.get("jwk") if isinstance(key, dict) else None
    if not isinstance(key, dict) or not isinstance(members, dict):
        return False
    texts = tuple((str(name), str(value)) for name, value in members.items())
    return bool(key.get("thumbprint") == thumbprint(texts))


def _files(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, day and directory of each file, the oldest first."""
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder / KEPT_KEYS_FOLDER)):
            if match := _NAME.fullmatch(name):
                yield name, match[1], match[2]


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _described(key: PublicKey) -> dict[str, Any]:
    times = {"not_before": _moment(key.not_before), "not_after": _moment(key.not_after)}
    return {"thumbprint": key.thumbprint, "jwk": dict(key.members), **times}


def _moment(seconds: float) -> str | None:
    """Return a moment in UTC, None for one without a bound."""
    if not isfinite(seconds):
        return None
    return f"{datetime.fromtimestamp(min(max(seconds, 0), _LAST_MOMENT), UTC):%Y-%m-%dT%H:%M:%SZ}"
