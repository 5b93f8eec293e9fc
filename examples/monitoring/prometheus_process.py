"""A real Prometheus on this machine, for as long as a demonstration lasts."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

CONFIGURATION = Path(__file__).parent / "prometheus" / "prometheus.yml"
_PATIENCE = 30.0


def installed(name: str = "prometheus") -> str | None:
    """Where the program is, or None."""
    return shutil.which(name)


class Prometheus:
    """Asks a Prometheus at `url`. Raises OSError when it does not answer, ValueError when it refuses."""

    def __init__(self, url: str) -> None:
        self.url = url

    def instant(self, expr: str) -> list[dict[str, Any]]:
        """The vector now."""
        return self._series("query", {"query": expr})

    def curve(self, expr: str, begin: float, end: float, step: float) -> list[dict[str, Any]]:
        """The matrix between two times, in seconds since 1970."""
        return self._series("query_range", {"query": expr, "start": begin, "end": end, "step": step})

    def label_values(self, label: str, chosen: str) -> list[str]:
        found: list[str] = self._ask(f"label/{label}/values", {"match[]": chosen})
        return found

    def firing(self, state: str = "firing") -> list[str]:
        """Names of the alerts that fire, or that are `pending`: their `for` is not over."""
        alerts = self._ask("alerts", {})["alerts"]
        return sorted({alert["labels"]["alertname"] for alert in alerts if alert["state"] == state})

    def _series(self, what: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask(what, parameters)["result"]
        return found

    def _ask(self, what: str, parameters: Mapping[str, object]) -> Any:
        try:
            with urlopen(f"{self.url}/api/v1/{what}?{urlencode(parameters)}", timeout=_PATIENCE) as response:
                return json.load(response)["data"]
        except URLError as error:
            body = error.read().decode() if hasattr(error, "read") else str(error)
            raise ValueError(f"{parameters.get('query', what)}: {body}") from error


def _configuration(target: str) -> str:
    """The example's own configuration, for `target`, at a scrape each second."""
    settings = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    settings["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(CONFIGURATION.parent / name) for name in settings["rule_files"]]
    settings["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    return yaml.safe_dump(settings)


def _free_port(port: int) -> int:
    """`port`, or any when 0. Raises OSError when it is taken."""
    with socket.create_server(("127.0.0.1", port)) as server:
        free: int = server.getsockname()[1]
        return free


@contextmanager
def scraping(target: str, folder: Path, program: str, port: int = 0) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `target` each second and evaluates the example's rules; its data in `folder`."""
    (folder / "prometheus.yml").write_text(_configuration(target), encoding="utf-8")
    address = f"127.0.0.1:{_free_port(port)}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            _wait_until_ready(process, f"http://{address}/-/ready", folder / "prometheus.log")
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = monotonic() + _PATIENCE
    while monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(url, timeout=1):
                return
        except OSError:
            sleep(0.1)
    raise RuntimeError(f"Prometheus did not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
