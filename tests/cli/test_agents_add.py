"""noai-guard agents add, and the site's own agents in the other commands."""

import json
from pathlib import Path

import pytest

from noai_guard.config import load_catalog, load_policy
from tests.cli.conftest import Run, Write

GRAB = "TrackGrab/2.1 (+https://trackgrab.example)"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_an_entry_is_written_and_refuses_the_client_it_was_made_from(run: Run, write: Write, tmp_path: Path) -> None:
    policy = write("agents_dir: agents\n")
    (tmp_path / "agents").mkdir()
    run("agents", "add", GRAB, "--operator", "A: 'b'", "--policy", policy)
    (agent,) = load_policy(policy).agents
    assert (agent.name, agent.operator, agent.expected_user_agent) == ("TrackGrab", "A: 'b'", ("TrackGrab",))
    assert json.loads(run("explain", "--ua", GRAB, "--format", "json").stdout)["rule"] == "scraper"
    assert "networks" not in run("agents", "TrackGrab").stdout
    assert "TrackGrab" in run("agents", "--usage", "scraper").stdout
    assert f"of {len(load_catalog().agents) + 1} known agents" in run("check").stdout


def test_what_is_to_be_written_into_the_policy_is_said_where_it_is_missing(run: Run, tmp_path: Path) -> None:
    result = run("agents", "add", GRAB)
    assert "agents_dir: agents/" in result.stdout
    assert (tmp_path / "agents" / "trackgrab.yaml").is_file()
    assert "exists" in run("agents", "add", GRAB, code=2).output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"], "those of people too"),
        (["Nice Chrome/1", "--token", "Chrome"], "a listener would be refused"),
        (["Overcast Grabber/1", "--token", "Overcast"], "a listener would be refused"),
        (["GPTBot/1.0"], "GPTBot (OpenAI) is known already"),
        (["NiceGrab/1", "--token", "Grab"], "not in the user agent as a word"),
        (["NiceGrab/1", "--network", "203.0.113.7/24", "--name", "x"], "203.0.113.0/24"),
        (["NiceGrab/1", "--header", "User-Agent: x", "--name", "x"], "no header condition"),
        (["NiceGrab/1", "--name", "nameless"], "choose another"),
    ],
)
def test_an_entry_that_would_be_wrong_is_refused_with_a_sentence(run: Run, arguments: list[str], words: str) -> None:
    result = run("agents", "add", *arguments, "--out", "-", code=1)
    assert words in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a\nb"], "control characters"),
        (["x" * 2000], "longer than"),
        (["NiceGrab/1", "--token", "*"], "--token"),
        (["Mozilla/5.0", "--network", "203.0.113.7"], "add --name"),
    ],
)
def test_what_cannot_be_an_entry_is_refused(run: Run, arguments: list[str], words: str) -> None:
    assert words in run("agents", "add", *arguments, "--out", "-", code=2).output


def test_a_client_without_a_word_of_its_own_is_told_by_network_and_header(
    run: Run, write: Write, tmp_path: Path
) -> None:
    options = ("--network", "198.51.100.0/24", "--header", "X-Grab:", "--header", "Via: grab", "--name", "Quiet One")
    policy = write("agents_dir: agents\n")
    (tmp_path / "agents").mkdir()
    run("agents", "add", "Mozilla/5.0 Chrome/126.0", *options)
    (agent,) = load_policy(policy).agents
    assert list(map(str, agent.networks)) == ["198.51.100.0/24"]
    assert [(each.name, each.words) for each in agent.headers] == [("x-grab", ()), ("via", ("grab",))]
    details = run("agents", "Quiet One").stdout
    assert "198.51.100.0/24" in details
    assert "via: grab" in details
    facts = json.loads(run("explain", "--ua", "Chrome/1", "--ip", "198.51.100.9", "--format", "json").stdout)
    assert (facts["agent"], facts["refused"]) == ("Quiet One", True)
    behind = ("--header", "X-Forwarded-For: 198.51.100.9", "--format", "json")
    facts = json.loads(run("explain", "--ua", "Mozilla/5.0 Chrome/1", *behind).stdout)
    assert facts["agent"] is None
    assert any("no condition on networks is met" in note for note in facts["notes"])


def test_the_sites_own_agents_are_in_robots_txt_and_on_the_page_for_people(
    run: Run, write: Write, tmp_path: Path
) -> None:
    write("agents: [{name: TrackGrab, usages: [scraper], expected_user_agent: [TrackGrab]}]\n")
    run("build", "--out", "site")
    assert "User-agent: TrackGrab" in (tmp_path / "site" / "robots.txt").read_text()
    pages = [
        file.read_text() for file in (tmp_path / "site").rglob("*") if file.is_file() and file.name != "robots.txt"
    ]
    assert any("<li>TrackGrab" in page for page in pages)


def test_what_a_client_without_a_name_gets_is_explained(run: Run) -> None:
    result = run("explain", "--path", "/")
    assert "none, without a name (unclaimed)" in result.stdout
    assert "rule       nameless" in result.stdout
    facts = json.loads(run("classify", input="-\nfoo/1.0\n").stdout.splitlines()[0])
    assert (facts["agent"], facts["usages"], facts["ai"], facts["action"]) == (None, [], False, "log")
