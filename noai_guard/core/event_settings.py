"""What a policy says of the event log: where events go, and what becomes of addresses and of old files."""

import re
from dataclasses import dataclass
from typing import NamedTuple

EVENTS_FOLDER = "noai-events"
"""The folder of the event log, relative to the policy file, unless the policy names one."""

FILES = "files"
STDOUT = "stdout"

_DAYS = {"day": 1, "week": 7, "month": 31, "year": 366}
_DURATION = re.compile(r"([1-9][0-9]{0,4}) ?(day|week|month|year)s?", re.IGNORECASE)
_SYSLOG = re.compile(r"syslog:(?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([1-9][0-9]{0,4}))?|(/[^/].*))")
_SYSLOG_PORT = 514  # RFC 5426 section 3.3
_MAX_SOCKET_PATH = 100  # of the 108 bytes of Linux, 104 elsewhere


class SyslogAddress(NamedTuple):
    """Where syslog messages go: the path of a UNIX socket, or a host and a port (UDP)."""

    path: str
    host: str = ""
    port: int = 0


def syslog_address(text: str) -> SyslogAddress | None:
    """Return the address in `syslog:/dev/log` or `syslog://logs.example:514`, or None if it is none."""
    match = _SYSLOG.fullmatch(text)
    if match is None:
        return None
    host, port, path = match.groups()
    if path:
        return SyslogAddress(path) if len(path.encode()) <= _MAX_SOCKET_PATH else None
    number = int(port or _SYSLOG_PORT)
    return SyslogAddress("", host.strip("[]"), number) if number < 65536 else None


def days_in(text: str) -> int | None:
    """Return the days in `90 days`, `6 weeks`, `12 months` or `2 years`, of the longest month and year; None if the
    text is no such time."""
    match = _DURATION.fullmatch(text.strip())
    return int(match[1]) * _DAYS[match[2].lower()] if match else None


@dataclass(frozen=True, slots=True)
class EventSettings:
    """The settings under `events:`.

    `to` are FILES, STDOUT and addresses of syslog. `folder` is where files and the keys of pseudonyms are, as a path
    relative to the policy file. Addresses are written as they are if `full_addresses`. The key of a day is destroyed
    when the day is over unless `keep_keys`. `keep` is in days. A file is closed when it has reached `file_size` MB.
    """

    to: tuple[str, ...] = (FILES,)
    folder: str = EVENTS_FOLDER
    full_addresses: bool = False
    keep_keys: bool = False
    keep: int = 12 * 31
    file_size: int = 64
