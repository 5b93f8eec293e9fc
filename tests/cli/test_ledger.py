"""noai-guard ledger: the story of a policy, told by the commands that a lawyer's assistant runs."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from noai_guard.cli import check as check_module
from noai_guard.cli import ledger as ledger_module
from noai_guard.cli import promised_policy
from noai_guard.cli.options import DEFAULT_POLICY
from tests.cli.conftest import Run
from tests.record.ledger_kit import AGENTS, DAY, LOOSER, START, STRICT, Book

TODAY = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOAI_LEDGER_AUTHOR", "Ines Rivera")
    monkeypatch.setattr(ledger_module, "catalog_of", lambda policy: AGENTS)
    for module in (check_module, promised_policy):
        monkeypatch.setattr(module, "load_catalog", lambda: AGENTS)
    Path(DEFAULT_POLICY).write_text(STRICT)
    return tmp_path


def change(text: str) -> None:
    """Replace what the policy says, and keep what it says of the ledger."""
    (line,) = (line for line in Path(DEFAULT_POLICY).read_text().splitlines() if line.startswith("ledger:"))
    Path(DEFAULT_POLICY).write_text(f"{text}{line}\n")


@pytest.fixture
def begun(run: Run) -> Run:
    run("ledger", "init")
    return run


def edited(file: str, edit: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(Path(file).read_text())
    edit(data)
    Path(file).write_text(json.dumps(data))


def test_init_makes_a_key_publishes_the_policy_and_names_the_ledger_in_it(run: Run) -> None:
    printed = run("ledger", "init").stdout
    assert "wrote   noai-ledger/0001.json" in printed
    assert "noai-ledger.key" in printed
    assert "ledger: {folder: ./noai-ledger, notice: 30, key: 'ed25519:" in Path(DEFAULT_POLICY).read_text()
    assert "whole, in order and signed" in run("ledger", "verify").stdout
    assert "nothing to publish" in run("ledger", "publish").stdout
    assert "looser" not in run("check").stdout


def test_init_in_a_git_repository_says_how_to_keep_the_key_out_of_it(run: Run) -> None:
    Path(".git").mkdir()
    assert "echo noai-ledger.key >> .gitignore" in run("ledger", "init").stderr


def test_init_says_what_to_write_where_it_cannot_be_added(run: Run) -> None:
    Path(DEFAULT_POLICY).write_text("{mode: enforce}\n")
    assert "write this into noai.yaml:\nledger: {" in run("ledger", "init").stdout
    assert Path(DEFAULT_POLICY).read_text() == "{mode: enforce}\n"


def test_init_replaces_nothing(begun: Run, run: Run) -> None:
    assert "noai-ledger is there already" in run("ledger", "init", code=2).stderr
    shutil.rmtree("noai-ledger")
    assert "noai-ledger.key is there already" in run("ledger", "init", code=2).stderr
    assert "cannot be written" in run("ledger", "init", "--key", "no/where", code=2).stderr
    Path(DEFAULT_POLICY).unlink()
    assert "noai-guard init writes one" in run("ledger", "init", code=2).stderr


def test_a_looser_policy_is_announced_and_the_stricter_one_is_built(begun: Run, run: Run) -> None:
    change(LOOSER)
    checked = run("check").stdout
    assert "note: looser than entry 1: training: refused -> allowed under /press/**." in checked
    day = (TODAY + timedelta(days=31)).date().isoformat()
    assert f"takes effect on {day}" in checked
    unpublished = run("build", "--out", "public")
    assert "the policy is not published" in unpublished.output
    assert "Allow: /press/" not in Path("public/robots.txt").read_text()
    dry = run("ledger", "publish", "--dry-run").stdout
    assert "looser  training: refused -> allowed under /press/**" in dry
    assert not Path("noai-ledger/0002.json").exists()
    run("ledger", "publish")
    run("build", "--out", "public")
    assert "Allow: /press/" not in Path("public/robots.txt").read_text()
    assert f"announced for {day}" in run("build", "--out", "public").output
    assert day in Path("public/.well-known/noai").read_text()
    assert "training: refused -&gt; allowed" in Path("public/.well-known/noai-history.atom").read_text()
    run("ledger", "verify", "public/.well-known/noai-history.json")
    configured = run("config", "netlify", "--out", "public", code=0)
    assert f"announced for {day}" in configured.output
    assert "/press/" not in Path("public/_headers").read_text().split("# noai-guard")[0]


def test_a_correction_takes_effect_at_once_and_needs_a_reason(begun: Run, run: Run) -> None:
    change(LOOSER)
    assert "needs a reason" in run("ledger", "publish", "--correction", " ", code=2).stderr
    run("ledger", "publish", "--correction", "closed by mistake")
    assert "closed by mistake" in run("ledger", "log").stdout
    run("build", "--out", "public")
    assert "Allow: /press/" in Path("public/robots.txt").read_text()


@pytest.mark.parametrize("server", ["nginx", "caddy", "cloudflare-pages"])
def test_configuration_of_servers_serves_the_history_like_other_documents(begun: Run, run: Run, server: str) -> None:
    run("config", server, "--out", "conf")
    assert {file.name for file in Path("conf").rglob("noai-history*")} == {
        "noai-history",
        "noai-history.atom",
        "noai-history.json",
    }


def test_log_reads_like_git_log(begun: Run, run: Run) -> None:
    change(LOOSER)
    run("ledger", "publish")
    printed = run("ledger", "log").stdout
    assert printed.index("entry 2 ") < printed.index("entry 1 ")
    assert "(announced)\nAuthor:    Ines Rivera\nDate:      " in printed
    assert "    training: refused -> allowed under /press/** (looser)\n" in printed
    first, second = run("ledger", "log", "--oneline").stdout.splitlines()
    assert first.endswith("training: refused -> allowed under /press/**")
    refused = "refused: training, data-broker, scraper, ai-agent, ai-input, ai-search"
    assert second.endswith(f"First policy: {refused}; {refused.replace(':', ' under /press/**:', 1)}")


def written_before(folder: Path) -> Book:
    """Return a ledger of this year's past, in the folder of the policy."""
    book = Book(folder)
    book.publish(
        STRICT + "exemptions: {paths: [/open/**]}\nrules: [{agents: [GPTBot], action: deny, paths: [/x/**]}]\n"
    )
    book.publish(LOOSER, datetime(2026, 3, 1, 9, tzinfo=UTC))
    return book


def test_at_says_what_was_promised_on_a_day(here: Path, run: Run) -> None:
    book = written_before(here)
    whole = run("ledger", "at", "2026-02-01").stdout
    assert "2026-02-01T00:00:00Z, by entry 1 of 2026-01-10T12:00:00Z (Ines), catalogue small:" in whole
    assert "  train-ai     refused" in whole
    assert "rule rule-1: refused for gptbot" in whole
    assert "declared by entry 1 in /robots.txt  sha256 " in whole
    for moment, path, action in (
        ("2026-03-01", "/press/kit", "refused"),
        ("2026-03-02", "/press/kit", "refused"),
        ("2026-04-01", "/press/kit", "allowed"),
        ("2026-04-01", "/tracks/x", "refused"),
    ):
        assert f"  train-ai     {action}" in run("ledger", "at", moment, "--path", path).stdout, moment
    assert "later that day: entry 2" in run("ledger", "at", "2026-03-01").stdout
    assert "announced for 2026-04-01T00:00:00Z by entry 2" in run("ledger", "at", "2026-03-01T10:00:00Z").stdout
    opened = run("ledger", "at", "2026-02-01", "--path", "/open/x").stdout
    assert "open to everybody" in opened
    assert "rule-1" not in opened
    assert "nothing was promised then" in run("ledger", "at", "2025-01-01", code=1).stderr
    run("ledger", "at", "2026-02-01", "--out", "then")
    assert "GPTBot" in Path("then/robots.txt").read_text()
    assert run("ledger", "at", "2026-02-01", "--ledger", str(book.path)).stdout == whole


WISHES = """\
work,creator,title,train-ai,ai-search,since
tide,Ines,Tide,disallow,,
ebb,Jonas,Ebb,allow,,2026-01-31
"""


def test_at_says_what_documents_declared_for_a_path_by_its_creators_wish(begun: Run, run: Run) -> None:
    def soon() -> str:
        return f"{datetime.now(UTC) + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"

    before = run("ledger", "at", soon(), "--path", "/audio/ebb.mp3").stdout
    assert "what its creator wished, by entry 1:\n  not known: no document of this entry names a single work" in before
    Path("catalogue.csv").write_text(WISHES)
    change(f"{STRICT}works: ['/audio/{{work}}.mp3']\nwishes: catalogue.csv\ncreators: decide\n")
    run("ledger", "publish", "--correction", "creators decide from today on")
    run("build", "--out", "public")

    def wished(name: str, *more: str) -> list[str]:
        printed = run("ledger", "at", soon(), "--path", f"/audio/{name}.mp3", *more).stdout.splitlines()
        begin = printed.index("what its creator wished, by entry 2:") + 1
        return printed[begin : printed.index("", begin)]

    assert wished("ebb") == [
        "  declared in /robots.txt for /audio/ebb.mp3$: Content-Usage: train-ai=y, ai-use=n, search=y",
        "  declared in /.well-known/tdmrep.json for /audio/ebb.mp3$: tdm-reservation: 0",
    ]
    assert wished("tide") == ["  not known: documents named single works, and not this path"]
    (here,) = wished("ebb", "--ledger", "public/.well-known/noai-history.json")
    assert "in the folder of the ledger only" in here


def test_verify_names_what_was_tampered_with_and_the_others_warn(here: Path, run: Run) -> None:
    written_before(here)
    shutil.copytree("noai-ledger", "kept")
    edited("noai-ledger/0002.json", lambda data: data.update(author="Eve"))
    printed = run("ledger", "verify", code=1).output
    assert "noai-ledger/0002.json: L002 entry 2 was changed" in printed
    for command in (["log"], ["at", "2026-02-01"]):
        assert "damaged or tampered with" in run("ledger", *command, code=1).stderr
    assert "note: the first key is believed" in run("ledger", "verify", "kept").stderr
    Path("kept/0001.json").write_text("{")
    assert "kept/0001.json: L001" in run("ledger", "verify", "kept", code=2).stderr
    assert "no certificates" in run("ledger", "verify", "--authority", "kept/0001.json", code=2).stderr


def test_an_older_copy_shows_that_a_ledger_was_written_anew(here: Path, run: Run) -> None:
    written_before(here)
    shutil.move("noai-ledger", "kept")
    Path("signing.key").unlink()
    written_before(here)
    run("ledger", "verify")
    assert "is not in the ledger, or is another there" in run("ledger", "verify", "--against", "kept", code=1).stdout


def test_rotate_hands_the_chain_to_a_new_key(begun: Run, run: Run) -> None:
    run("ledger", "rotate", "--new-key", "new.key")
    again = ("ledger", "rotate", "--key", "new.key", "--new-key")
    assert "new.key is there already" in run(*again, "new.key", code=2).stderr
    assert "cannot be written" in run(*again, "no/where", code=2).stderr
    change(LOOSER)
    Path("noai-ledger/0002.json").unlink()
    assert "L00" in run("ledger", "publish", "--key", "new.key", code=1).stderr


def test_a_key_that_was_replaced_or_is_of_another_ledger_signs_nothing(begun: Run, run: Run) -> None:
    assert "from now on write --key new.key" in run("ledger", "rotate", "--new-key", "new.key").stderr
    run("evidence", "new-key", "stranger.key")
    change(LOOSER)
    for command in (("publish",), ("rotate", "--new-key", "third.key")):
        old = run("ledger", *command, code=2).stderr
        assert "noai-ledger.key holds the old key ed25519:" in old
        assert "name the file of the new one with --key" in old
        assert "the ledger is signed with ed25519:" in run("ledger", *command, "--key", "stranger.key", code=2).stderr
    assert not Path("third.key").exists()
    assert "2 entries" in run("ledger", "verify").stdout


def test_verify_wants_the_name_of_a_key(begun: Run, run: Run) -> None:
    assert "1 entry, " in run("ledger", "verify").stdout
    assert "write ed25519: and 43 characters" in run("ledger", "verify", "--key", "foo", code=2).stderr


def test_a_key_that_signed_nothing_is_removed_so_that_the_command_can_be_typed_again(here: Path, run: Run) -> None:
    nobody = ("--timestamp", "ftp://nobody.example")
    assert "no address of a timestamp authority" in run("ledger", "init", *nobody, code=2).stderr
    assert not Path("noai-ledger.key").exists()
    Path("noai-ledger").mkdir()
    run("ledger", "init")
    assert "no address" in run("ledger", "rotate", "--new-key", "new.key", *nobody, code=2).stderr
    assert not Path("new.key").exists()
    run("ledger", "rotate", "--new-key", "new.key")
    assert "is there already" in run("ledger", "rotate", "--key", "new.key", "--new-key", "new.key", code=2).stderr
    assert Path("new.key").exists()


def test_a_ledger_that_git_could_not_merge_says_what_to_do(begun: Run, run: Run) -> None:
    for file in ("noai-ledger/0001.json", "noai-ledger/head.json"):
        text = Path(file).read_text()
        Path(file).write_text(f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n")
    said = run("ledger", "verify", code=2).stderr
    assert said.count("holds both sides of a merge in git") == 2
    assert "git checkout --ours noai-ledger" in said


def test_line_ends_that_git_has_changed_are_no_tampering(begun: Run, run: Run) -> None:
    assert Path("noai-ledger/.gitattributes").read_text() == "* -text\n"
    for file in Path("noai-ledger").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert "whole, in order and signed" in run("ledger", "verify").stdout
    run("ledger", "at", f"{datetime.now(UTC) + DAY:%Y-%m-%d}", "--out", "then")
    assert b"\r" not in Path("then/robots.txt").read_bytes()
    document = next(Path("noai-ledger/documents").iterdir())
    document.write_bytes(document.read_bytes() + b"\r\n")
    assert "L008" in run("ledger", "verify", code=1).stdout


def test_at_reads_the_address_of_a_page_as_it_was_copied(here: Path, run: Run) -> None:
    Book(here).publish(STRICT)
    for typed in ("/press/kit", "https://music.example/press/kit?from=mail#top", "/press/kit?x=/tracks/y"):
        assert "/press/kit is under /press/**" in run("ledger", "at", "2026-02-01", "--path", typed).stdout
    assert "/ is under /**" in run("ledger", "at", "2026-02-01", "--path", "https://music.example").stdout


def test_at_says_what_was_declared_on_a_path_for_which_a_looser_entry_has_a_section(here: Path, run: Run) -> None:
    book = Book(here)
    book.publish("usages: {train-ai: no}")
    book.publish(LOOSER, START + DAY)
    book.publish(LOOSER + "notices: [{text: Ask first.}]", START + 2 * DAY)
    said = run("ledger", "at", "2026-01-20", "--path", "/press/kit").stdout
    assert "declared in each response: tdm-reservation: 1" in said
    assert "announced for 2026-02-11T00:00:00Z by entry 2, which entry 3 replaces: training: refused" in said
    assert "in force too by entry 3: a notice was added: Ask first." in said
    book.publish("usages: {train-ai: no, seo: no}\npaths: {/press/**: {usages: {train-ai: yes}}}", START + 3 * DAY)
    said = run("ledger", "at", "2026-01-20", "--path", "/press/kit").stdout
    assert "what its creator wished, by entries 1, 2, 3, 4:\n  not known" in said
    assert "declared in each response: the strictest of entries 1, 2, 3, 4, whose own lines differ" in said


def test_log_says_that_what_is_only_stricter_holds_at_once(here: Path, run: Run) -> None:
    book = Book(here)
    soon = TODAY - DAY
    book.publish(STRICT, soon - DAY)
    book.publish(LOOSER, soon)
    book.publish(LOOSER + "notices: [{text: Ask first.}]", soon + timedelta(hours=1))
    said = run("ledger", "log").stdout
    assert "(in force)\nAuthor:    Ines\n" in said
    assert "Effective: at once; what was announced before waits until " in said
    assert "(announced, then replaced by entry 3)" in said


def test_at_wants_a_day_and_says_that_what_is_to_come_may_change(begun: Run, run: Run) -> None:
    assert "'yesterday' is no day or moment; write 2026-03-01" in run("ledger", "at", "yesterday", code=2).stderr
    assert "still to come" in run("ledger", "at", "2999-01-01").stderr


def test_the_new_key_signs_what_comes_after(begun: Run, run: Run) -> None:
    run("ledger", "rotate", "--new-key", "new.key")
    change(LOOSER)
    run("ledger", "publish", "--key", "new.key")
    assert "3 entries" in run("ledger", "verify").stdout


def test_a_command_without_a_ledger_or_a_key_says_what_to_type(run: Run) -> None:
    assert "noai-guard ledger init begins one" in run("ledger", "publish", code=2).stderr
    assert "noai-guard ledger init begins one" in run("ledger", "log", code=2).stderr
    run("ledger", "init")
    change(LOOSER)
    assert "cannot be read" in run("ledger", "publish", "--key", "nowhere.key", code=2).stderr
    assert "gave no timestamp" in run("ledger", "publish", "--timestamp", "http://127.0.0.1:9/", code=2).stderr
    shutil.rmtree("noai-ledger")
    assert "the ledger cannot be used, so nothing is compared with it" in run("check").stdout
    assert "stricter of the policy and no-ai is written" in run("build", "--out", "public").output


def test_what_is_no_ledger_is_answered_with_what_to_type(run: Run) -> None:
    Path("empty").mkdir()
    Path("letter.txt").write_text("hello")
    Path("other.json").write_text("{}")
    for source in ("nowhere", "empty", "letter.txt", "other.json"):
        for command in (("verify", source), ("log", "--ledger", source), ("at", "2026-02-01", "--ledger", source)):
            output = run("ledger", *command, code=2).output
            assert f"{source}: L001 " in output, command
            assert "name the folder of a ledger, or its public copy" in output
            assert output.count("\n") == 1
        assert "E006 " in run("evidence", "verify", source, code=int(Path(source).is_file()) or 2).output


def test_publish_needs_the_withheld_parts(run: Run) -> None:
    Path(DEFAULT_POLICY).write_text(STRICT + "exemptions: {addresses: [10.0.0.0/8]}\n")
    run("ledger", "init")
    shutil.rmtree("noai-ledger/withheld")
    assert "withheld/" in run("ledger", "publish", code=2).stderr
    assert "ledger cannot be used" in run("check").stdout


def test_config_has_room_for_one_policy(begun: Run, run: Run) -> None:
    change("usages: {train-ai: no}\npaths: {/press/**: {usages: {train-ai: yes}}, /x/**: {usages: {seo: no}}}\n")
    assert "the policy is not published" in run("config", "netlify", "--out", "public").output
    assert "Allow: /press/" not in Path("public/robots.txt").read_text()
    change("usages: {train-ai: yes}\non_unknown: deny\n")
    assert "room for one policy" in run("config", "netlify", "--out", "public", code=1).stderr


def test_a_new_catalogue_is_recorded(begun: Run, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "catalog_of", lambda policy: type(AGENTS)(AGENTS.agents, "newer"))
    assert "no changes but those of the catalogue" in run("ledger", "publish").stdout
    assert "New catalogue of programs" in run("ledger", "log").stdout
