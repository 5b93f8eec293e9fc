"""Lists that are fetched anew: what is taken, what is not, and what stays when it is not."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from noai_guard.cli import main
from noai_guard.cli import refresh as refresh_command
from noai_guard.config import catalog_of, check_policy_text, load_catalog
from noai_guard.config.feeds import BadFeed, effect_of, read_feed
from noai_guard.config.refreshed import FILE, FetchedList, Refreshed, read_refreshed, with_refreshed, write_refreshed
from noai_guard.core.catalog import Catalog
from noai_guard.core.identity.published import PublishedRanges
from noai_guard.core.model import Agent, Usage
from noai_guard.core.policy import Policy
from noai_guard.middleware import refreshed_lists
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.outbound import Fetched, Limits, NotFetched
from noai_guard.refresh import Refresh, range_addresses, refresh

FEED = "https://lists.example/robots.json"
OWN = "https://lists.example/own.yaml"
RANGES = "https://bot.example/ranges.json"
NOW = 1_800_000_000.0
CATALOG = Catalog(
    [
        Agent("ExampleBot", "Example", (Usage.TRAIN_AI,), ("ExampleBot",), verify={"ips_uri": (RANGES,)}),
        Agent("facebookexternalhit", "Meta", (Usage.PREVIEW,), ("facebookexternalhit",)),
        Agent("Overcast", "Overcast", (Usage.PLAYER,), ("Overcast/",)),
    ],
    "1",
)
WELCOME = ("Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0", "Some-Player/1.0 Robot-Edition/2")


def policy_of(text: str = "", feeds: tuple[str, ...] = (FEED,)) -> Policy:
    policy, problems = check_policy_text(f"refresh: {{folder: lists}}\nfeeds: {list(feeds)}\n{text}".encode())
    assert policy is not None, problems
    return policy


def ranges(*networks: str) -> bytes:
    key = {True: "ipv6Prefix", False: "ipv4Prefix"}
    return json.dumps({"prefixes": [{key[":" in network]: network} for network in networks]}).encode()


def names(**functions: str) -> bytes:
    return json.dumps(
        {name: {"operator": "[Op](https://op.example)", "function": text} for name, text in functions.items()}
    ).encode()


class Web:
    """Documents by address; an exception is raised, whatever is missing is not there."""

    def __init__(self, documents: Mapping[str, bytes | Exception]) -> None:
        self.documents = dict(documents)
        self.asked: list[str] = []

    def __call__(self, address: str, limits: Limits) -> Fetched:
        self.asked.append(address)
        document = self.documents.get(address, NotFetched("the answer was HTTP 404"))
        if isinstance(document, Exception):
            raise document
        return Fetched(document, {})


def refreshed(
    documents: Mapping[str, bytes | Exception],
    before: Refreshed | None = None,
    catalog: Catalog = CATALOG,
    policy: Policy | None = None,
) -> Refresh:
    return refresh(policy or policy_of(), catalog, before or Refreshed(), NOW, WELCOME, fetching=Web(documents))


def results(done: Refresh) -> dict[str, str]:
    return {outcome.address: outcome.result for outcome in done.outcomes}


GOOD = {RANGES: ranges("8.8.8.0/24", "2001:4860::/32"), FEED: names(NewAIBot="train")}


def test_networks_and_agents_are_taken_and_then_the_same() -> None:
    first = refreshed(GOOD)
    assert results(first) == {RANGES: "new", FEED: "new"}
    assert first.refreshed.ranges[RANGES].content == ["8.8.8.0/24", "2001:4860::/32"]
    assert first.newly_refused == ("NewAIBot",)
    second = refreshed(GOOD, first.refreshed)
    assert results(second) == {RANGES: "same", FEED: "same"}
    assert second.newly_refused == ()
    assert not second.failed


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (NotFetched("the answer was HTTP 500"), "HTTP 500"),
        (b"", "no network"),
        (b"[]", "no network"),
        (b'{"prefixes": []}', "no network"),
        (b"{" * 100_000, "cannot be read"),
        (b"\xff\xfe", "not UTF-8"),
        (b"<html>maintenance</html>", "a page without a list"),
        (b'{"formatVersion": "2.0", "prefixes": [{"ipv4Prefix": "8.8.8.0/24"}]}', "version 2"),
        (b'{"prefixes": [{"ipv4Prefix": "8.8.8.0/33"}]}', "no network"),
        (ranges("8.0.0.0/7"), "wider than /8"),
        (ranges("0.0.0.0/0"), "wider than /8"),
        (ranges("2000::/18"), "wider than /19"),
        (ranges("10.0.0.0/8"), "not of the public network"),
        (ranges("127.0.0.1"), "not of the public network"),
        (ranges("8.8.0.0/16", "2001:4860::/32"), "256.0 times as many IPv4"),
        (ranges("8.8.8.0/27", "2001:4860::/32"), "12 % of the IPv4"),
        (ranges("8.8.8.0/24"), "0 % of the IPv6"),
        (ranges("8.8.8.0/24", "2001:4800::/24"), "256.0 times as many IPv6"),
        (b"8.8.8.0/24\n" * 100_001, "more than 100,000"),
        (b'"text"', "no network"),
        (b"[1]", "no network"),
    ],
)
def test_a_list_that_cannot_be_believed_leaves_the_last_good_one(body: bytes | Exception, why: str) -> None:
    before = refreshed(GOOD).refreshed
    done = refreshed({**GOOD, RANGES: body}, before)
    assert results(done)[RANGES] == "kept"
    assert done.failed
    outcome = next(outcome for outcome in done.outcomes if outcome.address == RANGES)
    assert why in outcome.detail
    kept = done.refreshed.ranges[RANGES]
    assert kept.content == before.ranges[RANGES].content
    assert kept.fetched_at == before.ranges[RANGES].fetched_at
    assert kept.problem


@pytest.mark.parametrize("networks", [("8.8.8.0/22", "2001:4860::/32"), ("8.8.8.0/26", "2001:4860::/34")])
def test_a_list_may_grow_and_shrink_fourfold(networks: tuple[str, ...]) -> None:
    before = refreshed(GOOD).refreshed
    assert results(refreshed({**GOOD, RANGES: ranges(*networks)}, before))[RANGES] == "changed"


def test_the_packaged_list_is_the_measure_of_the_first_that_is_fetched() -> None:
    packaged = Catalog(CATALOG.agents, "1", {RANGES: PublishedRanges(RANGES, "2026-08-20", NOW - 1e6, ["8.8.8.0/24"])})
    assert results(refreshed({**GOOD, RANGES: ranges("8.0.0.0/8")}, catalog=packaged))[RANGES] == "kept"


@pytest.mark.parametrize(
    ("body", "networks"),
    [
        (b"8.8.8.0/24 # a comment\n\n2001:4860::/32\n", ("8.8.8.0/24", "2001:4860::/32")),
        (b'["8.8.8.0/25", "8.8.8.128/25"]', ("8.8.8.0/24",)),
        (b'{"prefixes": [{"ip_prefix": "8.8.8.0/24"}], "ipv6_prefixes": [{"ipv6_prefix": "2600::/32"}]}', ("8.8.8.0/24", "2600::/32")),
        (b'{"formatVersion": "1.7", "prefixes": [{"ipv4Prefix": "8.8.8.0/24", "x": 1}, {"ipv4Prefix": "9.9.9.9", "ipv6Prefix": "::1"}, 5]}', None),
        (b"<p>{x}<pre>{&quot;creationTime&quot;:1,&quot;prefixes&quot;:[{&quot;ip_prefix&quot;:&quot;8.8.8.8&quot;}]}", ("8.8.8.8/32",)),
        (b"\xef\xbb\xbf8.8.8.8\n", ("8.8.8.8/32",)),
    ],
)  # fmt: skip
def test_lists_are_read_in_the_forms_in_which_operators_publish_them(
    body: bytes, networks: tuple[str, ...] | None
) -> None:
    done = refreshed({**GOOD, RANGES: body})
    content = done.refreshed.ranges[RANGES].content
    assert content == (list(networks) if networks else None), done.outcomes


def effect(body: bytes, catalog: Catalog = CATALOG) -> Any:
    return effect_of(read_feed(body), catalog, WELCOME)


def test_a_name_of_a_feed_becomes_an_agent_by_what_the_feed_says_it_does() -> None:
    found = effect(
        names(ABot="Scrapes to train", BBot="AI search", CBot="AI assistant", DBot="AI agent", EBot="scraper", FBot="?")
    )
    assert [agent.usages[0] for agent in found.added] == [
        Usage.TRAIN_AI, Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT, Usage.SCRAPER, Usage.TRAIN_AI,
    ]  # fmt: skip
    assert {agent.operator for agent in found.added} == {"Op"}


def test_a_feed_never_changes_who_is_welcome() -> None:
    found = effect(names(facebookexternalhit="train", Overcast="train", **{"facebookexternalhit/1.1": "train"}))
    assert (found.added, found.tightened) == ((), ())


def test_a_feed_makes_a_known_ai_agent_stricter_and_never_milder() -> None:
    found = effect(names(ExampleBot="AI search"))
    assert [agent.usages for agent in found.tightened] == [(Usage.TRAIN_AI, Usage.AI_SEARCH)]
    assert found.extended(CATALOG.agents)[0].usages == (Usage.TRAIN_AI, Usage.AI_SEARCH)
    own = b"operator: X\nagents:\n- {name: ExampleBot, status: stable, trigger: crawler, usages: [search], expected_user_agent: [ExampleBot], "
    own += b"sources: [{url: 'https://a.example', retrieved: 2026-11-01}], samples: {match: [ExampleBot/1.0]}}\n"
    milder = effect(own)
    assert [set(agent.usages) for agent in milder.tightened] == [{Usage.TRAIN_AI, Usage.SEARCH}]


def test_what_would_be_taken_for_a_person_or_a_player_is_left_out() -> None:
    found = effect(names(**{"Robot-Edition": "train", "Firefox/154.0": "train", "GoodBot": "train"}))
    assert [agent.name for agent in found.added] == ["GoodBot"]
    assert found.left_out == {"Robot-Edition", "Firefox/154.0"}
    done = refreshed({**GOOD, FEED: names(**{"Robot-Edition": "train", "GoodBot": "train"})})
    assert [entry["name"] for entry in done.refreshed.feeds[FEED].content or ()] == ["GoodBot"]
    assert any("Robot-Edition is left out" in note for note in done.notes)


@pytest.mark.parametrize("word", ["Operator", "Devin", "Spider", "Code", "YaK", "LCC"])
def test_an_ordinary_word_is_declared_and_never_recognised(word: str) -> None:
    found = effect(names(**{word: "train"}))
    is_bot = word == "Spider"
    assert [agent.robots_only for agent in found.added] == [not is_bot]
    assert Catalog(found.added).find(f"Mozilla/5.0 {word}/1.0".encode()) is (found.added[0] if is_bot else None)


def test_an_entry_of_a_feed_proves_nothing_and_opts_out_of_nothing() -> None:
    own = b"operator: X\nagents:\n- {name: OtherBot, status: stable, trigger: crawler, usages: [train-ai], expected_user_agent: [OtherBot], "
    own += b"verify: {ips_uri: 'https://evil.example/'}, opt_out: {usages: [train-ai], by: Google-Extended}, "
    own += b"sources: [{url: 'https://a.example', retrieved: 2026-11-01}], samples: {match: [OtherBot/1.0]}}\n"
    (agent,) = effect(own).added
    assert (agent.verify, agent.opt_out) == ({}, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"a": 1}',
        b"agents: 5",
        b"\x00",
        b"[" * 100_000,
        json.dumps({f"Bot{n}": {} for n in range(2001)}).encode(),
        b"<html>",
    ],
)
def test_a_feed_that_is_none_is_not_taken(body: bytes) -> None:
    with pytest.raises(BadFeed):
        read_feed(body)
    assert results(refreshed({**GOOD, FEED: body}))[FEED] == "kept"


def test_names_that_no_token_can_be_are_passed_over() -> None:
    assert [
        entry["name"]
        for entry in read_feed(names(**{"Good Bot": "", "bad*bot": "", "ünbot": "", "a" * 101: "", "": ""}))
    ] == ["Good Bot"]


def test_what_was_fetched_is_in_the_catalogue_of_the_policy_alone(tmp_path: Path) -> None:
    done = refreshed(GOOD)
    write_refreshed(tmp_path, done.refreshed)
    read = read_refreshed(tmp_path)
    assert read == done.refreshed
    extended = with_refreshed(CATALOG, read, (FEED,))
    assert extended.agent("NewAIBot") is not None
    assert "8.8.8.8" in extended.ranges[RANGES].networks
    assert extended.ranges[RANGES].date == "2027-01-15"
    assert extended.version.startswith("1+")
    assert with_refreshed(CATALOG, read, ()).agent("NewAIBot") is None
    assert with_refreshed(CATALOG, Refreshed(), ()) is CATALOG
    younger = Catalog(CATALOG.agents, "1", {RANGES: PublishedRanges(RANGES, "2030-01-01", NOW + 1e8, ["9.9.9.9"])})
    assert with_refreshed(younger, read, ()).ranges[RANGES].date == "2030-01-01"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"format": 2}',
        '{"format": 1, "ranges": {"a": {"content": ["x"]}}, "feeds": {}}',
        '{"format": 1, "ranges": [], "feeds": {}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_named_and_the_packaged_lists_stay(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ValueError, match="is damaged; remove it"):
        read_refreshed(tmp_path)
    policy, _ = check_policy_text(f"refresh: {{folder: {tmp_path}}}".encode())
    assert policy is not None
    assert catalog_of(policy) is load_catalog()


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_refreshed(tmp_path, Refreshed(ranges={"a": FetchedList(["8.8.8.8/32"], 1.0, 1.0)}))
    before = (tmp_path / FILE).read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_refreshed(tmp_path, Refreshed())
    assert (tmp_path / FILE).read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    """The networks of Googlebot are missing on it, so that they are kept."""
    web = Web({FEED: names(NewAIBot="train")})

    def refreshing(*arguments: Any) -> Refresh:
        return refresh(*arguments, fetching=web)

    monkeypatch.setattr(refresh_command, "refresh", refreshing)
    monkeypatch.setattr(refreshed_lists, "refresh", refreshing)
    return web


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["refresh", *arguments])


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "noai.yaml"
    file.write_text(f"refresh: {{folder: lists, every: 24}}\nfeeds: [{FEED}]\n")
    return file


def test_a_dry_run_says_whom_it_would_newly_refuse_and_writes_nothing(web: Web, site: Path) -> None:
    result = run("--dry-run", "--policy", str(site))
    assert result.exit_code == 1  # a list could not be fetched
    assert f"new      {FEED}  1 agent" in result.stdout
    assert "would be refused from now on: NewAIBot" in result.stdout
    assert "kept     https://" in result.stdout
    assert not (site.parent / "lists").exists()


def test_the_command_writes_and_the_policy_then_knows_the_agents(web: Web, site: Path) -> None:
    result = run("--policy", str(site))
    assert "are refused from now on: NewAIBot" in result.stdout
    explained = CliRunner().invoke(main, ["explain", "--policy", str(site), "--ua", "NewAIBot/1.0"])
    assert "HTTP 403" in explained.stdout
    assert "nobody is newly refused" in run("--policy", str(site)).stdout
    (site.parent / "lists" / FILE).write_text("{}")
    assert "is damaged" in run("--policy", str(site)).stderr


def test_without_a_folder_the_command_says_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "noai.yaml").write_text("mode: monitor\n")
    result = run("--policy", str(tmp_path / "noai.yaml"))
    assert result.exit_code == 2
    assert "write refresh: {folder: lists}" in result.stderr


def test_a_folder_that_cannot_be_written_is_named(web: Web, site: Path) -> None:
    (site.parent / "lists").write_text("a file")
    result = run("--policy", str(site))
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr or "cannot be read" in result.stderr


def _eventually(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_serving_guard_refreshes_by_itself_and_shows_the_age(web: Web, site: Path) -> None:
    registry = CollectorRegistry()
    runtime = GuardRuntime(site, registry=registry)
    assert runtime.compiled.catalog.agent("NewAIBot") is None
    runtime.lists.look()
    _eventually(lambda: (site.parent / "lists" / FILE).exists())
    _eventually(lambda: not any(thread.name == "noai-guard-refresh" for thread in threading.enumerate()))
    runtime.lists.look()
    assert runtime.compiled.catalog.agent("NewAIBot") is not None
    stamp = registry.get_sample_value("noai_list_refreshed_timestamp_seconds", {"list": FEED})
    assert stamp is not None
    assert abs(stamp - time.time()) < 600
    google = range_addresses(load_catalog())[0]
    assert registry.get_sample_value("noai_list_refresh_failed", {"list": google}) == 1
    assert registry.get_sample_value("noai_list_refresh_failed", {"list": FEED}) == 0
    asked = len(web.asked)
    runtime.lists.look()
    assert len(web.asked) == asked  # not again before it is due
    runtime.close()


def test_a_policy_that_does_not_say_so_asks_nobody(web: Web, site: Path) -> None:
    site.write_text("mode: monitor\n")
    runtime = GuardRuntime(site, registry=CollectorRegistry())
    runtime.lists.look()
    site.write_text("refresh: {folder: lists}\n")
    runtime.reload()
    runtime.lists.look()
    assert not web.asked
    runtime.close()


def test_a_refresh_that_breaks_is_counted_and_the_guard_goes_on(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Refresh:
        raise RuntimeError("broken")

    monkeypatch.setattr(refreshed_lists, "refresh", broken)
    registry = CollectorRegistry()
    runtime = GuardRuntime(site, registry=registry)
    runtime.lists.look()
    _eventually(lambda: registry.get_sample_value("noai_guard_failures_total", {"place": "refresh"}) == 1)
    runtime.close()


def test_of_several_processes_one_refreshes(web: Web, site: Path) -> None:
    runtime = GuardRuntime(site, registry=CollectorRegistry())
    with refreshed_lists._alone(site.parent / "lists") as is_alone:
        assert is_alone
        runtime.lists._refresh(runtime.compiled.policy)
    assert not web.asked
    runtime.close()
