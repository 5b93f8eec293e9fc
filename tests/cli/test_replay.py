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
        (("/nowhere/at-all.log",), "R001 does not exist; nginx has /var/log/nginx/access.log, - is stdin"),
        (("folder",), "R001 is a folder; name its files: noai-guard replay folder/*"),
        (("acess.log",), "R001 does not exist; did you mean access.log?"),
        (("link.log",), "R001 is a link that leads nowhere; name another file, or - for standard input"),
        (("access.log/x",), "R001 cannot be read: Not a directory; name another file, or - for standard input"),
        (("empty.log",), "R002 is empty; add older ones: noai-guard replay empty.log*"),
        (("-",), "R002 is empty; pipe a log into it"),
        ((), "Missing argument 'LOG...'"),
    ],
)
def test_what_cannot_be_read_is_said_on_one_line_with_what_to_type(
    run: Run, access_log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("empty.log").touch()
    Path("link.log").symlink_to("nowhere.log")
    result = run("replay", *arguments, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_all_logs_that_cannot_be_read_are_named_at_once_and_before_any_is_read(run: Run, access_log: str) -> None:
    result = run("replay", "one.log", access_log, "two.log", code=2)
    assert [line.split()[:2] for line in result.stderr.splitlines()] == [["one.log:", "R001"], ["two.log:", "R001"]]


def test_a_log_that_may_not_be_read_is_piped_by_who_may(
    run: Run, access_log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noai_guard.replay.sources.os.access", lambda path, mode: False)
    result = run("replay", access_log, code=2)
    assert (
        f"R001 may not be read by you; let sudo read it: sudo cat {access_log} | noai-guard replay -" in result.stderr
    )


def test_an_empty_log_beside_others_is_no_mistake(run: Run, access_log: str, tmp_path: Path) -> None:
    rotated = tmp_path / "empty.log"
    rotated.touch()
    assert "3 of 3" in run("replay", str(rotated), access_log).stdout


def test_text_that_is_no_log_is_said_on_one_line(run: Run) -> None:
    result = run("replay", "-", input="hello\nworld\n", code=2)
    assert result.stderr.startswith("-: R003 its first lines are of no known format; --log-format names one: ")
    assert result.stderr.count("\n") == 1


def test_a_missing_engine_names_the_extra(access_log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    result = CliRunner().invoke(main, ["replay", access_log])
    assert result.exit_code == 2
    assert "pip install 'noai-guard[replay]'" in result.output
    assert parsing.__doc__ is not None


def test_all_logs_of_no_known_format_are_named_at_once_and_before_any_is_read(
    run: Run, access_log: str, tmp_path: Path
) -> None:
    names = [str(tmp_path / name) for name in ("error.log", "notes.txt")]
    for name in names:
        Path(name).write_text("2026/10/10 13:55:36 [error] 12#12: *1 open() failed\n" * 30)
    result = run("replay", access_log, *names, code=2)
    assert [line.split(": R003")[0] for line in result.stderr.splitlines()] == names


def test_lines_that_docker_has_put_into_json_come_with_the_command_that_takes_them_out(
    run: Run, tmp_path: Path
) -> None:
    log = tmp_path / "a-json.log"
    log.write_text('{"log":"127.0.0.1 - - ...","stream":"stdout","time":"2026-10-10T13:55:36Z"}\n')
    assert f"jq -rj .log {log} | noai-guard replay -" in run("replay", str(log), code=2).stderr


def test_a_log_with_nothing_but_a_scanner_in_it_yet_does_not_stop_those_beside_it(
    run: Run, access_log: str, tmp_path: Path
) -> None:
    begun = tmp_path / "begun.log"
    begun.write_text('203.0.113.5 - - [29/Nov/2026:00:00:00 +0000] "\\x16\\x03" 400 157 "-" "-"\n')
    said = run("replay", str(begun), access_log).stdout
    assert "3 of 3" in said
    assert f"{begun}: combined (nginx, Apache, Traefik), 1 line, 1 could not be read" in said
