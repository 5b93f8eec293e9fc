"""noai-guard creators: a band, a label and a platform keep the wishes of creators from the shell."""

import csv
import json
import os
import re
import signal
import stat
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.config import load_catalog, load_policy
from noai_guard.core.guard import Guard
from noai_guard.core.model import Usage
from noai_guard.core.spreadsheet_cells import original_cell, safe_cell
from noai_guard.core.wishes import WISHED_USAGES, Choice
from noai_guard.creators.keys import ENVIRONMENT, read_keys
from noai_guard.stores.wish_table import WishTable
from tests.cli.conftest import Run

POLICY = """\
extends: {stance}
site: {{url: https://music.example, name: Night Ferry Records}}
works: ["/audio/{{work}}.mp3"]
wishes: sqlite:///noai-wishes.sqlite
"""
GPTBOT = "Mozilla/5.0 (compatible; GPTBot/1.3)"
TODAY = datetime.now(UTC).date


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    (tmp_path / "noai.yaml").write_text(POLICY.format(stance="search-only"), encoding="utf-8")
    return tmp_path


def choices(creator: str, work: str, day: date | None = None) -> dict[Usage, Choice]:
    table = WishTable.at("sqlite:///noai-wishes.sqlite")
    try:
        return next((dict(w.choices) for w in table.read(day or TODAY()) if (w.creator, w.work) == (creator, work)), {})
    finally:
        table.database.close()


def link(result: Result) -> str:
    (found,) = re.findall(r"^https?://\S+open\?t=\S+$", result.stdout, re.MULTILINE)
    return found


def test_an_invitation_prints_a_link_that_the_page_takes(run: Run, here: Path) -> None:
    invited = run("creators", "invite", "Night Ferry", "--work", "harbour-lights", "--days", "30")
    address = link(invited)
    assert address.startswith("https://music.example/creators/open?t=")
    assert invited.stdout == f"{address}\n"
    assert stat.S_IMODE((here / "noai-creators.key").stat().st_mode) == 0o600
    keys = read_keys(here / "noai-creators.key", {})
    token = address.partition("t=")[2]
    assert keys.read_link(token, datetime.now(UTC)) is not None
    assert keys.read_link(token, datetime.now(UTC) + timedelta(days=30)) is None
    assert link(run("creators", "invite", "Bo", "--page", "http://127.0.0.1:8090")).startswith(
        "http://127.0.0.1:8090/open?t="
    )


def test_a_work_is_noted_once(run: Run) -> None:
    for _ in range(2):
        run("creators", "invite", "Ada", "--work", "song", "--work", "song")
    assert run("creators", "list").stdout.split("\t")[:2] == ["Ada", "1"]


def test_a_creator_without_works_is_said(run: Run) -> None:
    assert "no work of Ada is known yet" in run("creators", "invite", "Ada").stderr
    assert "no work" not in run("creators", "invite", "Ada", "--work", "song").stderr


def test_links_are_listed_and_revoked(run: Run) -> None:
    assert "no creator is known" in run("creators", "list").stderr
    run("creators", "invite", "Ada", "--days", "10")
    run("creators", "invite", "Ada", "--days", "20")
    until = [TODAY() + timedelta(days=days) for days in (10, 20)]
    assert run("creators", "list").stdout == f"Ada\t0\t1 until {until[0]}, 2 until {until[1]}\n"
    assert run("creators", "revoke", "Ada", "--invitation", "1").stdout == "revoked: 1\n"
    assert run("creators", "list", "--creator", "Ada").stdout == f"Ada\t0\t1 revoked on {TODAY()}, 2 until {until[1]}\n"
    assert run("creators", "revoke", "Ada").stdout == "revoked: 1\n"
    assert "no such link" in run("creators", "revoke", "Ada", code=1).stdout


def test_a_catalogue_becomes_wishes_that_the_guard_follows(run: Run, here: Path) -> None:
    (here / "c.csv").write_text("work,creator,title,isrc,train-ai\nsong,Ada,Song,DE-A01-26-00001,no\nother,Bo,,,\n")
    assert run("creators", "import", "c.csv", "--dry-run").stdout.startswith("2 lines: 2 works would be new; 1 choices")
    assert choices("Ada", "song") == {}
    assert run("creators", "import", "c.csv").stdout.startswith("2 lines: 2 works new; 1 choices in force at once")
    assert choices("Ada", "song") == {Usage.TRAIN_AI: Choice.DISALLOW}
    assert "0 works new; 0 choices in force" in run("creators", "import", "c.csv").stdout


def test_a_site_that_lets_ai_in_refuses_it_for_the_work_of_a_creator_who_says_no(run: Run, here: Path) -> None:
    (here / "noai.yaml").write_text(POLICY.format(stance="no-ai") + "usages: {train-ai: yes}\n")
    (here / "c.csv").write_text("work,creator,train-ai\nsong,Ada,no\nother,Bo,\n")
    run("creators", "import", "c.csv")
    guard = Guard(load_policy("noai.yaml"), load_catalog())
    verdicts = {work: guard.judged(f"/audio/{work}.mp3", GPTBOT.encode()) for work in ("song", "other")}
    assert {work: verdict.action for work, verdict in verdicts.items()} == {"song": "deny", "other": "allow"}


def test_what_loosens_is_dated_and_a_line_may_say_a_later_day(run: Run, here: Path) -> None:
    later = TODAY() + timedelta(days=90)
    (here / "c.csv").write_text(
        f"work,creator,train-ai,since\nsong,Ada,yes,\nother,Ada,yes,{later}\nthird,Ada,no,{later}\n"
    )
    assert "1 choices in force at once, 2 after 30 days" in run("creators", "import", "c.csv").stdout
    month = TODAY() + timedelta(days=30)
    assert [choices("Ada", "song", day) for day in (TODAY(), month)] == [{}, {Usage.TRAIN_AI: Choice.ALLOW}]
    assert [choices("Ada", "other", day) for day in (month, later)] == [{}, {Usage.TRAIN_AI: Choice.ALLOW}]
    assert choices("Ada", "third") == {Usage.TRAIN_AI: Choice.DISALLOW}


def test_what_was_agreed_long_ago_holds_at_once_without_notice(run: Run, here: Path) -> None:
    (here / "c.csv").write_text("work,creator,train-ai\nsong,Ada,yes\n")
    run("creators", "import", "c.csv", "--notice", "0", "--by", "Example Records")
    assert choices("Ada", "song") == {Usage.TRAIN_AI: Choice.ALLOW}
    history = json.loads(run("creators", "export", "--format", "json").stdout)["history"]
    assert {row["set_by"] for row in history} == {"Example Records"}


def test_an_empty_cell_says_nothing_and_unset_says_something(run: Run, here: Path) -> None:
    (here / "c.csv").write_text("work,creator,train-ai,ai-search\nsong,Ada,no,no\n")
    run("creators", "import", "c.csv")
    (here / "c.csv").write_text("work,creator,train-ai,ai-search\nsong,Ada,,unset\n")
    run("creators", "import", "c.csv", "--notice", "0")
    assert choices("Ada", "song") == {Usage.TRAIN_AI: Choice.DISALLOW, Usage.AI_SEARCH: Choice.UNSET}


def test_every_mistake_is_listed_by_line_and_then_nothing_is_added(run: Run, here: Path) -> None:
    (here / "c.csv").write_text(
        "work,creator,train-ai,isrc,since,title\n"
        "song,Ada,no,,,\n"
        "song,,no,,,\n"
        "song,Ada,perhaps,,,\n"
        "song,Ada,no,XX,,\n"
        "song,Ada,no,,soon,\n"
        f"song,Ada,no,,,{'x' * 201}\n"
        'song,Ada,no,,,"two\nlines"\n'
        ",Ada,no,,,\n"
    )
    result = run("creators", "import", "c.csv", code=2)
    problems = re.findall(r"^c\.csv:(\d+): (W\d+)", result.stderr, re.MULTILINE)
    assert problems == [
        ("3", "W007"), ("4", "W002"), ("5", "W003"), ("6", "W005"), ("7", "W008"), ("9", "W008"), ("10", "W004"),
    ]  # fmt: skip
    assert choices("Ada", "song") == {}
    (here / "c.csv").write_text("work,train-ai\nsong,no\n")
    run("creators", "import", "c.csv", "--creator", "Ada")
    assert choices("Ada", "song") == {Usage.TRAIN_AI: Choice.DISALLOW}


def test_what_is_exported_can_be_imported_elsewhere_and_used_as_a_catalogue(run: Run, here: Path) -> None:
    (here / "c.csv").write_text(
        "work,creator,title,train-ai,ai-search\n*,Ada,,no,\n=song,Ada,=1+1,yes,no\n-song,'Ada,@x,,no\nplain,Bo,Plain,no,yes\n"
    )
    run("creators", "import", "c.csv", "--notice", "0")
    exported = run("creators", "export", "--out", "out.csv")
    assert exported.stdout == ""
    assert stat.S_IMODE((here / "out.csv").stat().st_mode) == 0o600
    with (here / "out.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    run("creators", "import", "out.csv", "--database", "sqlite:///other.sqlite", "--notice", "0")
    again = run("creators", "export", "--database", "sqlite:///other.sqlite").stdout
    assert again == (here / "out.csv").read_text(encoding="utf-8")
    assert len(run("creators", "export", "--creator", "Bo").stdout.splitlines()) == 2
    (here / "noai.yaml").write_text((here / "noai.yaml").read_text().replace("sqlite:///noai-wishes.sqlite", "out.csv"))
    index = load_policy("noai.yaml").creators.index
    assert index is not None
    assert index.strictest(["=song"]) != index.strictest(["unknown"])


def test_of_several_lines_about_a_work_the_strictest_is_imported(run: Run, here: Path) -> None:
    (here / "c.csv").write_text("work,creator,title,train-ai,ai-search\ntide,Ada,,no,yes\ntide,Ada,Tide,yes,\n")
    run("creators", "import", "c.csv", "--notice", "0")
    assert choices("Ada", "tide") == {Usage.TRAIN_AI: Choice.DISALLOW, Usage.AI_SEARCH: Choice.ALLOW}
    assert "tide,,Ada,Tide," in run("creators", "export").stdout


@given(st.text(max_size=20))
def test_a_safe_cell_is_no_formula_and_gives_its_text_back(text: str) -> None:
    assert not safe_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert original_cell(safe_cell(text)) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("invite", ""), "is no name"),
        (("invite", "a\nb"), "is no name"),
        (("invite", "x" * 201), "is no name"),
        (("invite", "Ada", "--work", "a/b"), "not a path"),
        (("invite", "Ada", "--page", "music.example"), "where is the page"),
        (("invite", "Ada", "--database", "wishes.csv"), "--database: not the address of a database"),
        (("import", "none.csv"), "none.csv cannot be read"),
        (("export", "--out", "none/x.csv"), "cannot be written"),
        (("list", "--database", "sqlite:///none/x.sqlite"), "unable to open database file"),
        (("list", "--database", "postgresql://ada:sesame@127.0.0.1:9/x"), "refused"),
        (("key", "--keys", "none/x.key"), "cannot be written"),
    ],
)
def test_a_command_that_cannot_do_its_work_says_why_on_one_line(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    result = run("creators", *arguments, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert "sesame" not in result.output


def test_a_policy_whose_wishes_are_a_catalogue_has_no_page(run: Run, here: Path) -> None:
    (here / "wishes.csv").write_text("work,train-ai\nsong,no\n")
    (here / "noai.yaml").write_text(
        (here / "noai.yaml").read_text().replace("sqlite:///noai-wishes.sqlite", "wishes.csv")
    )
    for command in (("invite", "Ada"), ("serve",), ("list",)):
        assert "is a catalogue; write sqlite:///" in run("creators", *command, code=2).stderr


def test_a_key_is_added_before_the_others(run: Run, here: Path) -> None:
    old = link(run("creators", "invite", "Ada"))
    assert run("creators", "key").stdout == "noai-creators.key: 2 keys, the new one first\n"
    new = link(run("creators", "invite", "Ada"))
    keys = (here / "noai-creators.key").read_text().split()
    now = datetime.now(UTC)
    (here / "only-new.key").write_text(keys[0])
    (here / "only-new.key").chmod(0o600)
    only_new = read_keys(here / "only-new.key", {})
    assert only_new.read_link(new.partition("t=")[2], now)
    assert only_new.read_link(old.partition("t=")[2], now) is None


def test_keys_in_the_environment_need_no_file(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "e" * 43)
    run("creators", "invite", "Ada")
    assert not (here / "noai-creators.key").exists()


def test_the_page_is_served_until_a_signal_comes(run: Run, here: Path) -> None:
    address = link(run("creators", "invite", "Night Ferry", "--work", "song", "--page", "http://127.0.0.1"))
    command = [sys.executable, "-W", "error", "-m", "noai_guard", "creators", "serve", "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=here, env=environment) as process:
        assert process.stderr is not None
        started = process.stderr.readline()
        (port,) = re.findall(r"the creators' page at 127\.0\.0\.1:(\d+), policy noai\.yaml", started)
        try:
            # Without a browser's cookie the page that follows asks for the link.
            with pytest.raises(HTTPError, match="401"):
                urlopen(address.replace("127.0.0.1", f"127.0.0.1:{port}"), timeout=20)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_the_usages_of_an_export_are_those_that_creators_have_a_say_in(run: Run) -> None:
    header = run("creators", "export").stdout.splitlines()[0].split(",")
    assert header == ["work", "isrc", "creator", "title", *WISHED_USAGES]


def test_of_somebody_who_is_not_known_nothing_is_listed_or_exported(run: Run) -> None:
    run("creators", "invite", "Ada", "--work", "song")
    for arguments in (("list", "--creator", "Adda"), ("export", "--creator", "Adda")):
        told = run("creators", *arguments, code=1)
        assert "nothing is known of Adda; noai-guard creators list shows all" in told.stderr
        assert not told.stdout


def test_a_file_that_cannot_be_written_is_named_as_it_was_typed(run: Run) -> None:
    assert "nowhere/all.csv cannot be written" in run("creators", "export", "--out", "nowhere/all.csv", code=2).stderr
