"""The demonstration serves people, refuses AI, and notices if it does not."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from examples.demo import promises, proofs
from examples.demo.__main__ import failures_of
from examples.demo.site import Visit
from noai_guard.cli import main as cli

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-u", "-m", "examples.demo")
SERVED = Visit("Somebody", "listener", "GET", "/", 200, 5, "text/html", None, False)


def test_the_demo_serves_people_and_refuses_ai() -> None:
    answer = subprocess.run([*DEMO, "--once"], cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
    assert "Everybody got what they should." in answer.stdout
    assert 'noai_requests_total{action="deny",agent="GPTBot"' in answer.stdout
    assert 'noai_robots_ignored_total{agent="GPTBot"}' in answer.stdout
    assert "Moth Atlas: GPTBot gets 200" in answer.stdout
    assert "Ines Halvorsen: GPTBot gets 403" in answer.stdout


def test_each_proof_is_explained_by_the_command_that_the_demo_prints(tmp_path: Path) -> None:
    attempts = list(proofs.attempts(tmp_path))
    assert [line for attempt in attempts for line in proofs.failures_of(attempt)] == []
    assert {attempt.visit.status for attempt in attempts} == {200, 403}
    for attempt in attempts:
        program, *arguments = shlex.split(attempt.command)
        answer = CliRunner().invoke(cli, [*arguments, "--format", "json"])
        assert (program, answer.exit_code) == ("noai-guard", 0), answer.output
        verdict = attempt.visit.verdict
        facts = json.loads(answer.stdout)
        assert verdict is not None
        assert (facts["rule"], facts["action"]) == (attempt.expected, verdict.action)


@pytest.mark.parametrize(
    "visit",
    [
        replace(SERVED, status=403),
        replace(SERVED, status=0),
        replace(SERVED, kind="search", status=301),
        replace(SERVED, kind="ai", status=200),
        replace(SERVED, kind="ai", status=404),
        replace(SERVED, kind="ai", status=403, is_document=True),
    ],
)
def test_the_demo_notices_who_did_not_get_what_they_should(visit: Visit) -> None:
    assert len(list(failures_of(visit))) == 1


@pytest.mark.parametrize(
    "visit",
    [
        SERVED,
        replace(SERVED, status=304),
        replace(SERVED, kind="player", status=206),
        replace(SERVED, kind="ai", status=403),
        replace(SERVED, kind="ai", status=200, is_document=True),
        replace(SERVED, kind="odd", status=400),
    ],
)
def test_the_demo_is_content_with_who_did(visit: Visit) -> None:
    assert list(failures_of(visit)) == []


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*DEMO, "--port", port], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 2
    assert "--port 0 takes any free one" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Let child processes be interrupted, also where this one was started with SIGINT ignored (`pytest ... &`)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_the_site_stays_until_ctrl_c() -> None:
    with subprocess.Popen([*DEMO, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = next(match[0] for line in process.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
            next(line for line in process.stdout if "curl -A" in line)
            with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
                assert b"noai_requests_total" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.stdout.read() == "\nBye.\n"
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_a_policy_that_is_loosened_waits_and_a_tampered_ledger_is_caught(tmp_path: Path) -> None:
    scenes = list(promises.scenes(tmp_path))
    assert [scene.line for scene in scenes if not scene.holds] == []
    assert "entry 2 was changed" in scenes[-1].line
