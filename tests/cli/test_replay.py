"""noai-guard replay: logs in, an answer out."""

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from noai_guard.cli import main
from noai_guard.replay import parsing

BOT = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)"
LINE = f'203.0.113.7 - - [10/Oct/2026:13:55:36 +0000] "GET /audio/a.mp3 HTTP/1.1" 200 2326 "-" "{BOT}"\n'

Run = Callable[..., Result]


@pytest.fixture
def access_log(tmp_path: Path) -> str:
    file = tmp_path / "access.log"
    file.write_text(LINE * 3)
    return str(file)


def test_a_log_becomes_an_answer(run: Run, access_log: str) -> None:
    output = run("replay", access_log).stdout
    assert "3 of 3 requests would be refused (100 %)" in output
    assert "GPTBot" in output
    assert "no-ai (packaged)" in output


def test_several_logs_are_one_answer(run: Run, access_log: str, tmp_path: Path) -> None:
    older = tmp_path / "access.log.1.gz"
    older.write_bytes(gzip.compress(LINE.encode()))
    facts = json.loads(run("replay", access_log, str(older), "--format", "json").stdout)
    assert facts["refused_requests"] == 4
    assert [log["lines"] for log in facts["logs"]] == [3, 1]


def test_standard_input_is_read(run: Run) -> None:
    assert "2 of 2" in run("replay", "-", input=LINE * 2).stdout


def test_another_policy_is_compared_with(run: Run, write: Callable[[str], str], access_log: str) -> None:
    facts = run("replay", access_log, "--against", write("usages: {train-ai: allow}\n"), "--format", "json").stdout
    [difference] = json.loads(facts)["differences"]
    assert (difference["agent"], difference["before"], difference["action"]) == ("GPTBot", "allow", "deny")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.log",), "nowhere.log cannot be read: No such file or directory"),
        ((".",), ". cannot be read: Is a directory"),
        ((), "Missing argument 'LOG...'"),
    ],
)
def test_what_cannot_be_read_is_said_on_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run("replay", *arguments, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_text_that_is_no_log_is_said_on_one_line(run: Run) -> None:
    result = run("replay", "-", input="hello\nworld\n", code=2)
    assert "known format; --log-format names one" in result.stderr


def test_a_missing_engine_names_the_extra(access_log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    result = CliRunner().invoke(main, ["replay", access_log])
    assert result.exit_code == 2
    assert "pip install 'noai-guard[replay]'" in result.output
    assert parsing.__doc__ is not None
