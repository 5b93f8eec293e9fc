"""Where lines of the event log go: the standard output and syslog. `file_output` has the files.

No output blocks for long: the one thread that writes serves them all.
"""

import errno
import os
import select
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

from noai_guard.core.event_settings import SyslogAddress

_STDOUT = 1
_ROOM_SECONDS = 0.2
"""Seconds that a batch waits for whoever reads the standard output or the socket of syslog."""

_PIPE_BYTES = 4096
"""Bytes that a pipe takes at once when it is ready (PIPE_BUF of Linux; POSIX guarantees 512)."""

_LOCAL0_INFO = 16 * 8 + 6
"""Facility and severity (RFC 5424 section 6.2.1)."""


class Output(Protocol):
    """A place that lines go to."""

    name: str
    """The entry of `to` in the policy: the value of the label `sink` of metrics."""

    def write(self, lines: Sequence[bytes]) -> int:
        """Write lines (without line ends) and return how many were taken. Raises OSError if none can be."""

    def close(self) -> None:
        """Finish what was begun. Never raises."""


class StdoutOutput:
    """Lines on the standard output of the process, for what collects the output of containers."""

    name = "stdout"

    def __init__(self, descriptor: int = _STDOUT) -> None:
        self._descriptor = descriptor
        self._begun = b""
        """The rest of a line that was written in part."""

    def write(self, lines: Sequence[bytes]) -> int:
        """Write the lines for which there is room within a short time."""
        until = monotonic() + _ROOM_SECONDS
        if not self._finish(until):
            return 0
        for number, line in enumerate(lines):
            self._begun = line + b"\n"
            if not self._finish(until):
                # A line that was begun is finished with the next batch, so that no two lines are mixed.
                taken = number if len(self._begun) == len(line) + 1 else number + 1
                self._begun = b"" if taken == number else self._begun
                return taken
        return len(lines)

    def _finish(self, until: float) -> bool:
        """Write what was begun. Return False if there was no room for all of it in time."""
        while self._begun:
            if not _is_ready(self._descriptor, until):
                return False
            self._begun = self._begun[os.write(self._descriptor, self._begun[:_PIPE_BYTES]) :]
        return True

    def close(self) -> None:
        """Leave the standard output as it is: it is not ours."""


class SyslogOutput:
    """Messages of RFC 5424 with the line as their text, to a local socket or by UDP (RFC 5426)."""

    def __init__(self, name: str, address: SyslogAddress) -> None:
        self.name = name
        self._address = address
        self._socket: socket.socket | None = None
        self._resolving: threading.Thread | None = None
        self._found: tuple[int, tuple[object, ...]] | None = None
        host = socket.gethostname().encode("ascii", "replace")[:255] or b"-"
        self._head = b"<%d>1 " % _LOCAL0_INFO
        self._facts = b" %s noai-guard %d event - " % (host.replace(b" ", b"-"), os.getpid())

    def write(self, lines: Sequence[bytes]) -> int:
        """Send a message for each line. One that no datagram can hold is left out."""
        connection = self._connected()
        until = monotonic() + _ROOM_SECONDS
        taken = 0
        now = datetime.now(UTC).isoformat(timespec="milliseconds").encode("ascii")
        for line in lines:
            message = b"%s%s%s%s" % (self._head, now, self._facts, line)
            try:
                taken += _sent(connection, message, until)
            except OSError:
                self.close()
                if not taken:
                    raise
                return taken
        return taken

    def _connected(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        path, host, port = self._address
        family: int = socket.AF_UNIX
        address: str | tuple[object, ...] = path
        if not path:
            family, address = self._resolved(host, port)
        connection = socket.socket(family, socket.SOCK_DGRAM)
        connection.setblocking(False)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        self._socket = connection
        return connection

    def _resolved(self, host: str, port: int) -> tuple[int, tuple[object, ...]]:
        """Return where a host is, once another thread has found out: the DNS may take half a minute."""
        if self._found is not None:
            found, self._found = self._found, None
            return found
        if self._resolving is None or not self._resolving.is_alive():
            self._resolving = threading.Thread(target=self._resolve, args=(host, port), daemon=True)
            self._resolving.start()
            self._resolving.join(_ROOM_SECONDS)
            if self._found is not None:
                return self._resolved(host, port)
        raise OSError(f"the address of {host} is not known yet")

    def _resolve(self, host: str, port: int) -> None:
        with suppress(OSError, UnicodeError, LookupError):
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._found = family, address

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _sent(connection: socket.socket, message: bytes, until: float) -> bool:
    """Send one datagram; return False if the receiver had no room for it in time, or it is too long for any."""
    while True:
        try:
            connection.send(message)
        except BlockingIOError:
            if not _is_ready(connection.fileno(), until):
                return False
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return False
            raise
        else:
            return True


def _is_ready(descriptor: int, until: float) -> bool:
    """Wait until a descriptor takes data; return False if it does not in time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    events = poll.poll(max(0.0, until - monotonic()) * 1000)
    return bool(events)
