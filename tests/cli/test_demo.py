import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace

import pytest

from noai_guard.cli.demo import failures_of
from noai_guard.cli.demo_site import Visit

SERVED = Visit("Somebody", "listener", "GET", "/", 200, 5, "text/html", None, False)


def test_the_demo_serves_people_and_refuses_ai():
    answer = subprocess.run(
        [sys.executable, "-m", "noai_guard", "demo", "--once"], capture_output=True, text=True, timeout=120
    )
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
    assert "Everybody got what they should." in answer.stdout
    assert 'noai_requests_total{action="deny",agent="GPTBot"' in answer.stdout
    assert 'noai_robots_ignored_total{agent="GPTBot"}' in answer.stdout


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
def test_the_demo_notices_who_did_not_get_what_they_should(visit):
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
def test_the_demo_is_content_with_who_did(visit):
    assert list(failures_of(visit)) == []


def test_a_port_in_use_is_one_line(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("demo", "--port", str(taken.getsockname()[1]), code=2)
    assert "--port 0 takes any free one" in result.stderr


def test_the_site_stays_until_ctrl_c():
    import re
    import signal

    with subprocess.Popen(
        [sys.executable, "-u", "-m", "noai_guard", "demo", "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        url = next(found[0] for line in process.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        for line in process.stdout:
            if "curl -A" in line:
                break
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            assert b"noai_requests_total" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "\nBye.\n"
        assert process.wait(timeout=20) == 0


def test_without_the_examples_the_demo_says_where_they_are(run, monkeypatch, tmp_path):
    from noai_guard.cli import demo

    monkeypatch.setattr(demo, "__file__", str(tmp_path / "noai_guard" / "cli" / "demo.py"))
    assert "clone the repository" in run("demo", code=2).stderr
