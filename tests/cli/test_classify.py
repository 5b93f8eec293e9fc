import json
import subprocess
import sys
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.cli.classify import classifier, convert
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.guard import Guard
from tests.cli.conftest import Run, Write

CLASSIFIED = classifier(Guard(load_stance(), load_catalog()))


def classified(source: bytes) -> list[dict[str, object]]:
    sink = BytesIO()
    convert(BytesIO(source), sink, CLASSIFIED)
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def test_an_ai_agent_is_named_with_what_is_done(run: Run) -> None:
    (fact,) = map(json.loads, run("classify", input="GPTBot/1.3\n").stdout.splitlines())
    assert fact == {
        "ua": "GPTBot/1.3",
        "agent": "GPTBot",
        "operator": "OpenAI",
        "usages": ["train-ai"],
        "ai": True,
        "action": "deny",
    }


def test_a_browser_is_nobody() -> None:
    (fact,) = classified(b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    assert (fact["agent"], fact["operator"], fact["usages"], fact["ai"]) == (None, None, [], False)
    assert fact["action"] == "allow"


def test_an_unknown_bot_is_nobody_with_its_action() -> None:
    (fact,) = classified(b"Nobodyknowsbot/1.0\n")
    assert (fact["agent"], fact["usages"], fact["action"]) == (None, [], "log")


def test_the_policy_decides_the_action(run: Run, write: Write) -> None:
    file = write("extends: no-training\nusages: {train-ai: license_required}\n")
    (fact,) = map(json.loads, run("classify", "--policy", file, input="GPTBot").stdout.splitlines())
    assert fact["action"] == "license_required"


def test_empty_lines_and_crlf_keep_their_place() -> None:
    facts = classified(b"curl/8.5\r\n\r\n\nGPTBot\r\n")
    assert [fact["ua"] for fact in facts] == ["curl/8.5", "", "", "GPTBot"]
    assert [fact["agent"] for fact in facts] == ["curl", None, None, "GPTBot"]


def test_nothing_in_is_nothing_out(run: Run) -> None:
    assert run("classify", input=b"").stdout == ""


def test_bytes_that_are_no_utf8_are_read_as_latin_1() -> None:
    assert [fact["ua"] for fact in classified(b"Caf\xe9\nCaf\xc3\xa9\n\x00\x1b[31m\n")] == [
        "Café",
        "Café",
        "\0\x1b[31m",
    ]


@given(st.lists(st.binary(max_size=80).map(lambda line: line.replace(b"\n", b""))))
def test_every_line_gets_one_line_of_json_in_order(lines: list[bytes]) -> None:
    facts = classified(b"".join(line + b"\n" for line in lines))
    assert len(facts) == len(lines)
    for line, fact in zip(lines, facts, strict=True):
        line = line.removesuffix(b"\r")
        assert fact["ua"] in (line.decode("utf-8", "replace"), line.decode("latin-1"))


@given(st.binary(max_size=60), st.data())
def test_where_a_pipe_cuts_the_stream_changes_nothing(source: bytes, data: st.DataObject) -> None:
    class Pipe(BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            return super().read1(data.draw(st.integers(1, 9)))

    sink, whole = BytesIO(), BytesIO()
    convert(Pipe(source), sink, CLASSIFIED)
    convert(BytesIO(source), whole, CLASSIFIED)
    assert sink.getvalue() == whole.getvalue()


def test_a_user_agent_of_ten_megabytes_is_read_as_the_middleware_reads_it() -> None:
    (fact,) = classified(b"x" * 10_000_000 + b" GPTBot/1.3")
    assert fact["agent"] == "GPTBot"


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    from noai_guard.cli import classify

    max_line = classify._MAX_LINE
    facts = classified(b"x" * (max_line + 1_000_000) + b"\nGPTBot\n")
    assert max_line <= len(str(facts[0]["ua"])) <= max_line + classify._BLOCK
    assert facts[1]["agent"] == "GPTBot"


def test_a_person_at_a_pipe_sees_each_answer_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "noai_guard", "classify"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        for user_agent in (b"GPTBot", b"CCBot/2.0"):
            process.stdin.write(user_agent + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["ua"] == user_agent.decode()
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("lines", [1, 100_000])
def test_head_may_leave_early(lines: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "noai_guard", "classify"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        try:
            process.stdin.write(b"GPTBot\n" * lines)
            process.stdin.close()
        except BrokenPipeError:
            pass
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == b""
