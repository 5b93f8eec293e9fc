"""Real databases for tests: a PostgreSQL on loopback with a cluster of its own, and SQLite files."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from tests.servers import free_port, require, require_program
from tests.stores.shared_servers import wait_for

USER = "postgres"


class PostgreSQL:
    """A server with a new cluster, which neither syncs nor outlives the test. It never runs as root."""

    def __init__(self) -> None:
        require("sqlalchemy", "psycopg")
        # Debian keeps the servers of each version apart, and only wrappers in PATH.
        bins = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        self._bin = str(bins[-1]) if bins else os.path.dirname(require_program("postgres", "postgresql"))
        if not bins:
            require_program("initdb", "postgresql")
        self.folder = mkdtemp(prefix="noai-postgresql-")
        self._as: dict[str, str | int] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._as = {"user": account.pw_uid, "group": account.pw_gid}
        self.port = free_port()
        data = f"{self.folder}/data"
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", f"--username={USER}", data)
        self._command = [
            f"{self._bin}/postgres", "-D", data, "-p", str(self.port), "-k", self.folder, "-F",
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        self._log = open(f"{self.folder}/log", "ab")  # noqa: SIM115  # closed by stop
        self._process = subprocess.Popen(
            self._command,
            cwd=self.folder,
            stdout=self._log,
            stderr=self._log,
            **self._as,  # type: ignore[call-overload]
        )
        wait_for(self._answers)

    def database(self, name: str) -> str:
        """Make a database and return its address."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name)
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def kill(self) -> None:
        """Stop at once, as a power cut does for clients."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    def stop(self) -> None:
        self._process.terminate()
        self._process.send_signal(2)  # a fast shutdown: clients are sent away
        self._process.wait(30)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        command = [f"{self._bin}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [f"{self._bin}/{program}", *arguments], cwd=self.folder, capture_output=True, text=True, check=False,
            timeout=60, **self._as,  # type: ignore[call-overload]
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    try:
        yield server
    finally:
        server.stop()
