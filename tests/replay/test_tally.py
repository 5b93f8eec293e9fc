"""Totals are exact; what strangers could make endless is bounded, and says so."""

import random
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog
from noai_guard.core.model import Usage
from noai_guard.core.networks import NetworkSet
from noai_guard.core.policy import Creators
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.replay import tally as tallies
from noai_guard.replay.bounded import SUMS, Clients, Pairs
from noai_guard.replay.run import Replay
from noai_guard.replay.shapes import Shapes
from noai_guard.replay.sources import Source
from noai_guard.replay.summary import Summary
from tests.replay.lines import log
from tests.replay.requests import BROWSER, GPTBOT, OTHER_POLICY, Sent, compiled, counted, judged

NOW = 1_795_000_000.0
PLAYER = b"Mozilla/5.0 (iPhone) PetalBot-like GPTBot/1.3"


def replay(tmp_path: Path, requests: list[Sent], *policies: bytes) -> tuple[Summary, Replay]:
    file = tmp_path / "access.log"
    file.write_bytes(log("combined", requests))
    compiled_policies = [compiled(text) for text in policies] or [compiled()]
    made = Replay(compiled_policies, ["noai.yaml", "old.yaml"][: len(compiled_policies)], NOW)
    made.read(Source(str(file)))
    return made.summary(), made


def listening(address: str, user_agent: bytes) -> list[Sent]:
    page = b"https://music.example/tracks/night"
    return [
        Sent(b"/tracks/night", user_agent, address=address),
        Sent(b"/static/app.css", user_agent, referer=page, address=address),
        Sent(b"/static/app.js", user_agent, referer=page, address=address),
        Sent(b"/audio/night.mp3", user_agent, referer=page, address=address),
    ]


def test_refused_clients_that_listen_are_probably_wronged_and_crawlers_are_not(tmp_path: Path) -> None:
    crawling = [Sent(b"/tracks/%d" % number, GPTBOT, address="203.0.113.8") for number in range(50)]
    summary, _ = replay(tmp_path, [*listening("203.0.113.7", GPTBOT), *crawling, *listening("203.0.113.9", BROWSER)])
    assert [(client.client, client.agent, client.requests, client.works) for client in summary.wronged] == [
        ("203.0.113.7", "GPTBot", 4, 1)
    ]
    assert summary.wronged[0].signals == (
        "came from pages (Referer)", "opened pages, then audio", "loaded what pages are made of",
    )  # fmt: skip


def test_a_listener_who_takes_too_much_is_not_wronged(tmp_path: Path) -> None:
    many = [Sent(b"/audio/%d.mp3" % number, GPTBOT, address="203.0.113.7") for number in range(60)]
    assert replay(tmp_path, [*listening("203.0.113.7", GPTBOT), *many])[0].wronged == ()


def test_two_addresses_of_one_home_are_one_client(tmp_path: Path) -> None:
    requests = listening("2001:db8:1:2::7", GPTBOT)[:2] + listening("2001:db8:1:2:aaaa::", GPTBOT)[2:]
    [client] = replay(tmp_path, requests)[0].wronged
    assert client.client == "2001:db8:1:2::/64"


@pytest.mark.parametrize("address", ["2001:db8::1", "2001:db8:0:2::1", "2001:db8:1:2:3:4:5:6"])
def test_blocks_are_those_of_the_guard(address: str) -> None:
    from noai_guard.core.client_address import address_block

    made = Replay([compiled()], ["noai.yaml"], NOW)
    assert made.tally._blocks(pl.Series([address])).to_list() == [address_block(address)]


@pytest.mark.parametrize("address", ["::ffff:203.0.113.7", "203.0.113.7:4711"])
def test_an_ipv4_address_is_one_client_however_it_is_written(address: str, tmp_path: Path) -> None:
    requests = [*listening("203.0.113.7", GPTBOT)[:2], *listening(address, GPTBOT)[2:]]
    [client] = replay(tmp_path, requests)[0].wronged
    assert (client.client, client.requests) == ("203.0.113.7", 4)


def test_clients_without_a_name_that_took_many_works_are_listed(tmp_path: Path) -> None:
    taking = [Sent(b"/audio/%d.mp3" % number, BROWSER, address="203.0.113.5") for number in range(40)] * 2
    few = [Sent(b"/audio/%d.mp3" % number, BROWSER, address="203.0.113.6") for number in range(5)]
    [client] = replay(tmp_path, taking + few)[0].unclaimed
    assert (client.client, client.works, client.requests) == ("203.0.113.5", 40, 80)


def test_what_two_policies_do_differently_is_told_with_both_actions(tmp_path: Path) -> None:
    requests = [Sent(b"/", b"OAI-SearchBot/1.0"), Sent(b"/", GPTBOT), Sent(b"/", BROWSER)]
    summary, _ = replay(tmp_path, requests, b"extends: no-ai\n", OTHER_POLICY)
    assert [(group.agent, group.before, group.action) for group in summary.differences] == [
        ("OAI-SearchBot", "allow", "deny")
    ]


SPOOFABLE = b"extends: no-ai\nidentity: {networks: {Googlebot: [203.0.113.0/28], GPTBot: [203.0.113.0/28]}}\n"


def test_who_is_not_in_the_networks_of_its_operator_is_told_also_where_it_is_refused_anyway(tmp_path: Path) -> None:
    outside, inside = "198.51.100.7", "203.0.113.3"
    requests = [Sent(b"/", agent, address=at) for agent in (b"Googlebot/2.1", GPTBOT) for at in (inside, outside)]
    summary, made = replay(tmp_path, requests, SPOOFABLE)
    assert {(group.agent, group.action, group.requests) for group in summary.spoofed} == {
        ("Googlebot", "deny", 1), ("GPTBot", "deny", 1),
    }  # fmt: skip
    assert counted(made.tally) == judged(compiled(SPOOFABLE), requests, NOW)
    assert NetworkSet(["203.0.113.0/28"]) != NetworkSet()


def test_exempt_addresses_and_rules_by_network_are_judged_for_each_address(tmp_path: Path) -> None:
    policy = (
        b"extends: no-ai\nexemptions: {addresses: [203.0.113.7]}\nnetworks: {office: [198.51.100.0/24]}\n"
        b"rules: [{id: office, networks: [office], action: deny}]\n"
    )
    addresses = ("203.0.113.7", "203.0.113.8", "198.51.100.4")
    requests = [Sent(b"/", agent, address=address) for agent in (GPTBOT, BROWSER) for address in addresses]
    assert counted(replay(tmp_path, requests, policy)[1].tally) == judged(compiled(policy), requests, NOW)


def test_rules_that_look_at_header_fields_are_named(tmp_path: Path) -> None:
    policy = b"extends: no-ai\nrules: [{id: old, headers: {x-old: [old]}, action: deny}]\n"
    summary, _ = replay(tmp_path, [Sent(b"/", BROWSER)], policy)
    assert any(
        note.startswith("Rules and agents that look at header fields never hold here: old.") for note in summary.notes
    )
    assert summary.refused == ()


def test_who_names_an_agent_and_might_be_refused_by_header_fields_is_counted_apart(tmp_path: Path) -> None:
    policy = b"extends: no-ai\nrules: [{id: old, agents: [curl], paths: [/press/**], headers: {x-old: [old]}, action: deny}]\n"
    requests = [Sent(path, agent) for path in (b"/press/a", b"/b") for agent in (b"curl/8.5.0", GPTBOT, BROWSER)]
    summary, _ = replay(tmp_path, requests, policy)
    assert summary.undecided == 1
    assert any(
        "what 1 requests got; 1 of these are let in here though their client names an agent" in note
        for note in summary.notes
    )


def test_a_policy_that_only_counts_is_named_whichever_of_the_two_it_is(tmp_path: Path) -> None:
    monitoring = b"extends: no-ai\nmode: monitor\n"
    summary, _ = replay(tmp_path, [Sent(b"/", GPTBOT)], b"extends: no-ai\n", monitoring)
    assert summary.differences == ()
    assert [note.partition(" ")[0] for note in summary.notes if "mode: monitor" in note] == ["old.yaml"]


@pytest.mark.parametrize("pattern", ["/**/{work}.mp3", "/a*/{work}/**", "/a/{work}-*"])
def test_patterns_of_works_that_engines_read_differently_are_left_to_us(pattern: str, tmp_path: Path) -> None:
    policy = f'extends: no-ai\nworks: ["{pattern}"]\n'.encode()
    assert not Shapes.of([compiled(policy)]).usable
    requests = [Sent(path, GPTBOT) for path in (b"/a/one.mp3", b"/a/b/two.mp3", b"/ab/three/x", b"/a/four-5-6")]
    summary, made = replay(tmp_path, requests, policy)
    assert counted(made.tally) == judged(compiled(policy), requests, NOW)
    names = {compiled(policy).policy.works.work_of(sent.target.decode()) for sent in requests} - {""}
    assert summary.refused[0].works == len(names)


def test_each_request_for_which_somebody_would_be_asked_is_counted_whoever_came_first(tmp_path: Path) -> None:
    policy = b"extends: no-ai\npaths: {/press/**: {usages: {train-ai: allow}}}\n"
    at = "203.0.113.9"
    requests = [Sent(path, b"Googlebot/2.1", address=at) for path in (b"/press/a", b"/b", b"/press/%7Ec", b"/b")]
    notes = replay(tmp_path, requests, policy)[0].notes
    assert any(note.startswith("4 requests would have been checked by asking somebody") for note in notes)


def test_what_creators_wish_is_judged_for_each_work(tmp_path: Path) -> None:
    wishes = [WorkWishes("tide", {Usage.TRAIN_AI: Choice.DISALLOW}), WorkWishes("ebb", {Usage.TRAIN_AI: Choice.ALLOW})]
    policy = replace(compiled().policy, creators=Creators(decide=True, index=WishIndex(wishes)))
    wished = CompiledPolicy(policy, load_catalog())
    paths = (b"/audio/tide.mp3", b"/audio/ebb.mp3", b"/AUDIO/EBB.MP3", b"/audio/foam.mp3", b"/press/tide", b"/x")
    requests = [Sent(path, agent) for path in paths for agent in (GPTBOT, BROWSER)]
    file = tmp_path / "access.log"
    file.write_bytes(log("combined", requests))
    made = Replay([wished], ["noai.yaml"], NOW)
    made.read(Source(str(file)))
    assert counted(made.tally) == judged(wished, requests, NOW)
    assert made.summary().refused[0].works == 2


def test_pairs_are_distinct_and_bounded() -> None:
    pairs = Pairs(max_pairs=1000)
    drawn = random.Random(1)
    for _ in range(50):
        rows = [(drawn.randrange(20), drawn.randrange(30)) for _ in range(100)]
        pairs.add(pl.DataFrame(rows, schema={"whose": pl.UInt64, "work": pl.UInt64}, orient="row"))
    assert pairs.complete
    assert pairs.counts()["works"].to_list() == [30] * 20
    assert pairs.counts_of({0: 5, 1: 5, 2: 6}) == {5: 30, 6: 30}
    for start in range(0, 5000, 500):
        rows = [(7, work) for work in range(start, start + 500)]
        pairs.add(pl.DataFrame(rows, schema={"whose": pl.UInt64, "work": pl.UInt64}, orient="row"))
    assert not pairs.complete
    assert pairs.counts()["works"].sum() <= 1000


def test_the_busiest_clients_are_kept_and_the_others_counted() -> None:
    clients = Clients(max_clients=100)
    for start in range(0, 1000, 50):
        numbers = [*range(start + 1, start + 50), 0]
        sums = {name: [1] * 50 for name in SUMS}
        sums["requests"] = [2 if number == 0 else 1 for number in numbers]
        whose = pl.Series("whose", numbers, pl.UInt64)
        texts = {"user_agent": ["agent"] * 50, "client": ["1.2.3.4"] * 50}
        clients.add(pl.DataFrame({"whose": whose, "outcome": [0] * 50, **sums, **texts}))
    table = clients.table()
    assert table is not None
    assert table.height <= 100
    assert 0 in table["whose"].to_list()
    assert set(table["user_agent"].to_list()) == {"agent"}
    assert clients.dropped >= 800


def test_a_log_with_another_user_agent_and_path_in_each_line_is_counted_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "_MAX_CODES", 300)
    monkeypatch.setattr(tallies, "_CACHED_KEYS", 200)
    requests = [
        Sent(b"/tracks/%%%02x%d" % (32 + number % 90, number), b"Client%d/1.0 (%s)" % (number, agent))
        for number in range(3000)
        for agent in [(b"GPTBot", b"x86", b"some crawler")[number % 3]]
    ]
    file = tmp_path / "access.log"
    file.write_bytes(log("combined", requests))
    made = Replay([compiled()], ["noai.yaml"], NOW)
    made.read(Source(str(file)), block_bytes=32_768)
    assert counted(made.tally) == judged(compiled(), requests, NOW)
