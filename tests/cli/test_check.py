import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Write

WARNING = "rules:\n  - agents: [Google-Extended]\n    action: deny\n"
BROKEN = "extends: no-ai\nusages:\n  trian-ai: no\nmode: sometimes\n"


def test_a_good_policy_is_fine_and_says_what_it_cannot_enforce(run: Run, write: Write) -> None:
    file = write("extends: no-ai\n")
    assert "note: Google-Extended (Google) exists only in robots.txt" in run("check", "--verbose", file).stdout
    assert ": fine." in run("check", "--verbose", file).stdout.splitlines()[-1]


def test_the_file_may_also_be_named_as_for_the_other_commands(run: Run, write: Write) -> None:
    file = write("extends: no-ai\n")
    assert run("check", "--policy", file).stdout == run("check", file).stdout


def test_the_limits_of_a_policy_are_counted_and_printed_only_when_asked_for(run: Run, write: Write) -> None:
    file = write(
        "paths: {" + ", ".join(f"/a-?/{number}/**: {{usages: {{train-ai: yes}}}}" for number in range(200)) + "}\n"
    )
    verbose = run("check", "--verbose", file).stdout.splitlines()
    notes = [line for line in verbose if line.startswith("note: ")]
    assert len(notes) > 200
    lines = run("check", file).stdout.splitlines()
    assert len(lines) < 7
    hidden = [note for note in notes if note not in lines]
    assert f"{len(hidden)} notes on what is not declared or not enforced: --verbose prints them." in lines
    assert lines[-1] == verbose[-1]
    assert len(json.loads(run("check", "--format", "json", file).stdout)["notes"]) == len(notes)
    shown = [note for note in notes if note in lines]
    assert len(run("check", "--format", "github", file).stdout.splitlines()) == len(shown) + 1


def test_the_summary_counts_who_is_refused_and_names_who_is_only_asked(run: Run, write: Write) -> None:
    summary = run("check", write("")).stdout
    listed = json.loads(run("agents", "--format", "json", "--policy", write("")).stdout)
    refused = [fact for fact in listed if fact["action"] == "deny" and fact["enforceable"]]
    assert f"Refuses {len(refused)} of {len(listed)} known agents" in summary
    for name in ("Googlebot", "bingbot", "Google-Extended", "Applebot-Extended"):
        assert name in summary
    assert "Only asks" not in run("check", write("usages: {train-ai: yes, ai-input: yes}\n")).stdout


def test_the_summary_of_a_policy_that_only_watches_says_so(run: Run, write: Write) -> None:
    summary = run("check", write("mode: monitor\n")).stdout
    assert "Would refuse " in summary
    assert "mode monitor refuses nobody" in summary


def test_every_problem_is_one_line_with_place_code_and_hint(run: Run, write: Write) -> None:
    file = write(BROKEN)
    first, second = run("check", file, code=1).stdout.splitlines()
    assert first == f"{file}:3:3: P012 unknown usage 'trian-ai'; did you mean 'train-ai'?"
    assert second.startswith(f"{file}:4:7: P009 ")


def test_noai_yaml_here_is_the_default(run: Run, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(BROKEN)
    monkeypatch.chdir(tmp_path)
    assert run("check", code=1).stdout.startswith("noai.yaml:3:3: P012")


def test_a_dash_is_standard_input(run: Run) -> None:
    assert run("check", "-", input=BROKEN, code=1).stdout.startswith("-:3:3: P012")


def test_warnings_are_fine_unless_strict(run: Run, write: Write) -> None:
    file = write(WARNING)
    assert "warning: P020" in run("check", file).stdout
    run("check", "--strict", file, code=1)


def test_programs_get_json(run: Run, write: Write) -> None:
    facts = json.loads(run("check", "--format", "json", write(BROKEN), code=1).stdout)
    assert facts["ok"] is False
    assert facts["problems"][0] == {
        "severity": "error",
        "code": "P012",
        "message": "unknown usage 'trian-ai'",
        "hint": "did you mean 'train-ai'?",
        "file": facts["file"],
        "line": 3,
        "column": 3,
    }
    fine = json.loads(run("check", "--format", "json", write("")).stdout)
    assert fine["ok"] is True
    assert fine["notes"]


def test_github_gets_annotations(run: Run, write: Write) -> None:
    lines = run("check", "--format", "github", write(BROKEN), code=1).stdout.splitlines()
    assert lines[0].startswith("::error file=")
    assert ",line=3,col=3,title=P012::unknown usage 'trian-ai'; did you mean" in lines[0]
    noted = run("check", "--format", "github", write(WARNING)).stdout
    assert "::warning file=" in noted
    assert "::notice file=" in noted


def test_an_annotation_cannot_be_ended_by_the_policy(run: Run, write: Write) -> None:
    file = write('extends: no-ai\n"a\\n::error::%0A b": 1\n')
    for line in run("check", "--format", "github", file, code=1).stdout.splitlines():
        assert line.startswith(("::error file=", "::notice file="))
        assert line.count("::error") <= 2


def test_a_header_that_clients_can_set_themselves_is_pointed_out(run: Run, write: Write) -> None:
    file = write("trusted_proxies: {peers: [10.0.0.0/8], header: true-client-ip}\n")
    assert "note: true-client-ip passes on a value the client sent" in run("check", file).stdout


def test_a_limit_that_each_worker_counts_for_itself_is_pointed_out(run: Run, write: Write) -> None:
    text = "site: {url: https://music.example}\nusages: {train-ai: throttle}\nlimits: {throttle: {requests: 7}}\n"
    assert "each worker counts for itself: 7 requests in 60 s" in run("check", write(text)).stdout
    assert "each worker" not in run("check", write(f"{text}store: embedded\n")).stdout
    assert "each worker" not in run("check", write("mode: enforce\n")).stdout


def test_an_address_of_a_store_is_not_printed(run: Run, write: Write) -> None:
    for address, code in (("redis://me:horse@db/x", 1), ("postgres://me:horse@db", 1), ("redis://me:horse@db", 0)):
        for style in ("text", "json", "github"):
            result = run("check", "--verbose", "--format", style, write(f"store: {address}\n"), code=code)
            assert "horse" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", b"a: &a [*a, *a]", b"[" * 100_000, b"x" * (1024 * 1024 + 1), b"- 1\n---\n- 2", b"\0"],
    ids=["not text", "bomb", "deep", "large", "two documents", "nul"],
)
def test_a_hostile_file_is_refused_with_a_line_and_no_traceback(run: Run, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "noai.yaml"
    file.write_bytes(content)
    assert ": P0" in run("check", str(file), code=1).stdout.splitlines()[0]


@pytest.mark.parametrize("name", ["", "missing.yaml"], ids=["a folder", "a missing file"])
def test_a_file_that_cannot_be_opened_is_p001_and_exit_code_2(run: Run, tmp_path: Path, name: str) -> None:
    file = str(tmp_path / name)
    assert run("check", file, code=2).stdout.startswith(f"{file}: P001 cannot be read: ")
    facts = json.loads(run("check", "--format", "json", file, code=2).stdout)
    assert (facts["ok"], facts["problems"][0]["code"]) == (False, "P001")
    assert run("check", "--format", "github", file, code=2).stdout.startswith("::error file=")


@pytest.mark.parametrize(
    "command", [("check",), ("check", "--format", "json"), ("explain", "--ua", "GPTBot/1.0", "--policy"),
                ("build", "--out", "out", "--policy"), ("config", "nginx", "--out", "out", "--policy")]
)  # fmt: skip
def test_a_fifo_holds_no_command_up(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("noai.yaml")
    result = run(*command, "noai.yaml", code=2)
    assert "cannot be read: not a regular file" in result.output


def test_a_file_that_is_too_large_is_p001_and_exit_code_1(run: Run) -> None:
    large = "#" * (1024 * 1024 + 1)
    assert run("check", "-", input=large, code=1).stdout.startswith("-: P001 the file is larger than 1024 KiB")


@pytest.mark.parametrize("text", ["{{{{", "a: [\n", "a: [\r\n\r\n", "a: [\n\n\n"])
def test_a_mistake_at_the_end_is_on_a_line_that_the_file_has(run: Run, text: str) -> None:
    assert run("check", "-", input=text, code=1).stdout.startswith("-:1:5: P002 ")
