"""noai-guard evidence."""

from pathlib import Path

import pytest

from noai_guard.record.ledger_keys import read_key
from tests.cli.conftest import Run, Write
from tests.record.events_kit import event, write_events

SITE = "extends: no-ai\nsite: {name: Night Ferry, url: 'https://nightferry.example'}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a site with a policy and events, in which commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1796000000")
    (tmp_path / "noai.yaml").write_text(SITE)
    write_events(tmp_path / "noai-events", [event(), event(operator="Meta")])
    return tmp_path


PACK = ("evidence", "--operator", "OpenAI", "--since", "2026-10", "--until", "2026-10", "--events", "noai-events")


def test_evidence_of_a_site_with_a_ledger(run: Run, here: Path) -> None:
    run("ledger", "init", "--author", "Ines")
    result = run(*PACK, "--out", "case.zip")
    name = read_key(here / "noai-ledger.key").name
    assert f"wrote case.zip: 1 events, signed by {name}" in result.stdout
    assert result.stderr == ""
    checked = run("evidence", "verify", "case.zip", "--key", name).stdout
    assert "case.zip is whole" in checked
    assert f"the ledger in it is whole: 1 entry, the first signed by {name}" in checked
    assert "own word" not in checked


def test_evidence_of_a_site_without_a_ledger(run: Run, here: Path) -> None:
    made = run("evidence", "new-key", "evidence.pem").stdout
    result = run(*PACK, "--key", "evidence.pem", "--out", "case.zip")
    assert "there is no ledger" in result.stderr
    (here / "name.txt").write_text(made)
    assert "is whole" in run("evidence", "verify", "case.zip", "--key", "name.txt").stdout
    assert "compare it with what the site says" in run("evidence", "verify", "case.zip").stdout
    assert oct((here / "evidence.pem").stat().st_mode & 0o777) == "0o600"
    assert "so that no key is lost" in run("evidence", "new-key", "evidence.pem", code=2).output


def test_the_ledger_of_this_folder_is_found_without_a_policy_that_names_it(run: Run, here: Path) -> None:
    run("ledger", "init", "--author", "Ines")
    (here / "noai.yaml").write_text(SITE)
    with (here / "noai-events" / "events-2026-10.jsonl").open("ab") as file:
        file.write(b"noise\n")
    result = run(*PACK, "--out", "case.zip")
    assert result.stderr.startswith("note: Lines that are no events, and are not counted: 1")
    assert "the ledger in it is whole" in run("evidence", "verify", "case.zip").stdout


def test_a_changed_archive_is_named_by_file_and_exits_with_1(run: Run, here: Path) -> None:
    run("evidence", "new-key", "evidence.pem")
    run(*PACK, "--key", "evidence.pem", "--out", "case.zip")
    body = bytearray((here / "case.zip").read_bytes())
    body[body.index(b"\0\0README.txt") + 200] ^= 1
    (here / "case.zip").write_bytes(body)
    output = run("evidence", "verify", "case.zip", code=1).stdout
    assert "case.zip: README.txt was changed" in output
    assert "case.zip is NOT what was packed; problems: 1" in output


def test_an_operator_of_whom_there_is_nothing_is_questioned(run: Run, here: Path) -> None:
    run("evidence", "new-key", "evidence.pem")
    arguments = [each.replace("OpenAI", "OpenAl") for each in PACK]
    assert "did you mean 'OpenAI'?" in run(*arguments, "--key", "evidence.pem", "--out", "case.zip").stderr


def test_the_name_of_a_program_is_answered_with_its_operator(run: Run, here: Path) -> None:
    run("evidence", "new-key", "evidence.pem")
    arguments = [each.replace("OpenAI", "GPTBot") for each in PACK]
    hint = "GPTBot is a program of OpenAI: write --operator 'OpenAI'"
    assert hint in run(*arguments, "--key", "evidence.pem", "--out", "case.zip").stderr
    assert hint in run("report", *arguments[1:], "--out", "october.html").stderr


def test_a_key_that_the_ledger_has_replaced_signs_no_evidence(run: Run, here: Path) -> None:
    run("ledger", "init", "--author", "Ines")
    run("ledger", "rotate", "--author", "Ines", "--new-key", "new.key")
    assert "holds the old key" in run(*PACK, "--out", "case.zip", code=2).stderr
    assert not (here / "case.zip").exists()
    run(*PACK, "--key", "new.key", "--out", "case.zip")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("evidence",), "--operator, --since, --out are missing; --help shows how"),
        (("evidence", "--operator", "X", "--since", "2026-10", "--events", "noai-events"), "--out is missing"),
        (("evidence", "--operator", "X", "--since", "2026-10", "--key", "key.pem", "--out", "x"), "by --events"),
        ((*PACK, "--out", "case.zip"), "the key noai-ledger.key cannot be read"),
        ((*PACK, "--key", "key.pem", "--out", "noai.yaml/case.zip"), "cannot be written"),
        ((*PACK, "--key", "key.pem", "--ledger", "nowhere", "--out", "case.zip"), "L001"),
        (("evidence", "verify", "nowhere.zip"), "nowhere.zip: E006 cannot be read"),
        (("evidence", "verify", "noai.yaml", "--key", "secret"), "secret is no public key"),
        (("evidence", "new-key", "noai.yaml/key"), "cannot be written"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], problem: str, run: Run, here: Path) -> None:
    run("evidence", "new-key", "key.pem")
    output = run(*arguments, code=2).output
    assert problem in output
    assert output.count("\n") == 1


def test_what_is_no_archive_exits_with_1(run: Run, here: Path, write: Write) -> None:
    assert "no evidence that noai-guard has packed" in run("evidence", "verify", "noai.yaml", code=1).stdout
