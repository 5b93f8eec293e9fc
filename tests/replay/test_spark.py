"""The grouping on a real cluster of two workers on loopback comes to the same counts as the embedded one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import catalog_of, check_policy_text, load_catalog, load_policy, load_stance
from noai_guard.replay.formats import format_named
from noai_guard.replay.run import Replay
from noai_guard.replay.shapes import Shapes
from noai_guard.replay.sources import Source
from noai_guard.replay.spark import Groups, NoTextFormat, _block
from tests.replay.lines import log
from tests.replay.requests import POLICY, REQUESTS
from tests.servers import free_port, require, require_program

_DEADLINE_SECONDS = 240


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Run a master and two workers; yield the master's address."""
    require("pyspark")
    require_program("java", "openjdk-17-jre-headless")
    spec = find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    home = Path(spec.origin).parent
    port = free_port()
    master = f"spark://127.0.0.1:{port}"
    deploy = "org.apache.spark.deploy"
    at = ["--host", "127.0.0.1", "--webui-port", "0"]
    worker = [f"{deploy}.worker.Worker", *at, "--cores", "1", "--memory", "600m"]
    commands = [
        [f"{deploy}.master.Master", *at, "--port", str(port)],
        *([*worker, "-d", str(folder / name), master] for name in ("one", "two")),
    ]
    processes: list[subprocess.Popen[bytes]] = []
    output = folder / "cluster.log"
    environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    with output.open("wb") as out:
        try:
            for command in commands:
                started = [str(home / "bin" / "spark-class"), *command]
                process = subprocess.Popen(
                    started, stdout=out, stderr=out, cwd=folder, env=environment, start_new_session=True
                )
                processes.append(process)
            deadline = time.monotonic() + _DEADLINE_SECONDS
            while output.read_bytes().count(b"Successfully registered with master") < 2:
                assert time.monotonic() < deadline, output.read_text()[-3000:]
                time.sleep(0.2)
            yield master
        finally:
            for process in reversed(processes):
                os.killpg(process.pid, signal.SIGTERM)
            for process in processes:
                process.wait(60)


def submitted(master: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command with small executors, one on each worker."""
    options = {
        "spark.ui.enabled": "false", "spark.executor.memory": "500m", "spark.executor.cores": "1",
        "spark.sql.shuffle.partitions": "2", "spark.driver.host": "127.0.0.1", "spark.driver.memory": "500m",
    }  # fmt: skip
    conf = " ".join(f"--conf {name}={value}" for name, value in options.items())
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_SUBMIT_ARGS": f"{conf} pyspark-shell"}
    command = [sys.executable, "-m", "noai_guard", "replay", "--engine", master, "--format", "json", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)


@pytest.mark.serial
@pytest.mark.timeout(900)
def test_two_workers_come_to_the_same_counts(tmp_path: Path) -> None:
    policy = tmp_path / "noai.yaml"
    policy.write_bytes(POLICY)
    requests = [*REQUESTS] * 20
    logs = [tmp_path / "access.log.1", tmp_path / "access.log.2"]
    for file in logs:
        file.write_bytes(log("combined", requests) + b"nonsense\n\n")
    with cluster(tmp_path) as master:
        finished = submitted(master, *map(str, logs), "--policy", str(policy))
        assert finished.returncode == 0, finished.stderr[-3000:]
        alb = tmp_path / "alb.log"
        alb.write_bytes(log("alb", requests))
        of_alb = submitted(master, str(alb), "--policy", str(policy))
        of_nothing = submitted(master, str(tmp_path / "nowhere.log"))
        assert of_alb.returncode == 0, of_alb.stderr[-3000:]
    assert of_nothing.returncode == 2
    assert "nowhere.log" in of_nothing.stderr.splitlines()[-1]
    for output, files in ((finished.stdout, logs), (of_alb.stdout, [alb])):
        loaded = load_policy(policy)
        made = Replay([CompiledPolicy(loaded, catalog_of(loaded))], [str(policy)], time.time())
        for name in files:
            made.read(Source(str(name)))
        embedded, facts = made.summary(), json.loads(output)
        assert facts["requests"] == embedded.requests == len(requests) * len(files)
        assert facts["bytes"] == embedded.bytes
        assert facts["bad"] == embedded.bad
        for part in ("refused", "spoofed", "wronged", "unclaimed"):
            of_machine = json.loads(json.dumps([asdict(row) for row in getattr(embedded, part)]))
            assert facts[part] == of_machine


def test_a_machine_without_java_is_told_so(tmp_path: Path) -> None:
    require("pyspark")
    file = tmp_path / "access.log"
    file.write_bytes(log("combined", REQUESTS))
    command = [sys.executable, "-m", "noai_guard", "replay", "--engine", "local[1]", str(file)]
    environment = {**os.environ, "PATH": str(tmp_path), "JAVA_HOME": str(tmp_path)}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert finished.returncode == 2
    assert "it needs Java 17" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_rows_without_times_are_within_every_rate() -> None:
    policy, problems = check_policy_text(b"extends: no-ai\nusages: {search: throttle}\n")
    assert policy is not None, problems
    replay = Replay([CompiledPolicy(policy, load_catalog())], ["noai.yaml"], time.time())
    schema = {
        **dict.fromkeys(("address", "user_agent"), pl.String), "reads": pl.Boolean, "taken": pl.Boolean,
        "shape": pl.UInt64, "work": pl.String, "target": pl.String,
        **dict.fromkeys(("requests", "bytes", "ranges", "refers"), pl.Int64),
    }  # fmt: skip
    row = ("203.0.113.7", "Googlebot/2.1", True, True, 0, None, "/", 500, 1000, 0, 0)
    replay.tally.add(_block([row], schema))
    assert [(sums.requests, sums.bytes) for sums in replay.tally.sums] == [(500, 1000)]
    assert replay.summary().refused == ()


@pytest.mark.parametrize("name", ["events", "cloudflare"])
def test_formats_of_objects_are_refused_with_those_that_are_read(name: str) -> None:
    shapes = Shapes.of([CompiledPolicy(load_stance(), load_catalog())])
    with pytest.raises(NoTextFormat, match=r"plain lines, not .*: vhost_combined, combined"):
        Groups(None, [], format_named(name, []), shapes)  # type: ignore[arg-type]
