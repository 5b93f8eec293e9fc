"""The shipped catalogue: every entry carries its own proof."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from noai_guard import load_catalog, load_stance
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import rules_folder
from noai_guard.config.catalogue_schema import Samples, read_agent_files, read_browsers, samples_from
from noai_guard.core import browser_words
from noai_guard.core.guard import Guard
from noai_guard.core.model import Action, Agent
from noai_guard.core.opt_outs import opt_out_notes

CATALOG = load_catalog()
ENTRIES = read_agent_files((rules_folder() / "agents").glob("*.yaml"))
SAMPLES = [samples_from(entry) for entry in ENTRIES]
BROWSERS = read_browsers(rules_folder() / "browsers.yaml")


def spellings(user_agent: str) -> Iterator[bytes]:
    yield user_agent.encode()
    yield user_agent.lower().encode()
    yield user_agent.upper().encode()


def named(user_agent: bytes) -> str | None:
    agent = CATALOG.find(user_agent)
    return agent.name if agent else None


def test_there_are_at_least_440_agents_and_no_name_twice() -> None:
    names = [agent.name.lower() for agent in CATALOG.agents]
    assert len(names) >= 440
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("samples", SAMPLES, ids=lambda samples: samples.agent)
def test_every_sample_names_its_agent_in_any_case(samples: Samples) -> None:
    wrong = {
        text: named(text) for sample in samples.match for text in spellings(sample) if named(text) != samples.agent
    }
    assert not wrong


@pytest.mark.parametrize("samples", SAMPLES, ids=lambda samples: samples.agent)
def test_no_look_alike_names_the_agent(samples: Samples) -> None:
    assert not [text for sample in samples.look_alikes for text in spellings(sample) if named(text) == samples.agent]


def test_every_agent_that_can_be_recognised_has_a_sample_and_a_look_alike() -> None:
    lacking = [
        samples.agent
        for samples, entry in zip(SAMPLES, ENTRIES, strict=True)
        if entry["expected_user_agent"] and not (samples.match and samples.look_alikes)
    ]
    assert not lacking


def test_every_entry_names_a_source_with_a_date() -> None:
    assert not [entry["name"] for entry in ENTRIES if not entry["sources"]]
    assert not [
        source for entry in ENTRIES for source in entry["sources"]
        if not source["url"].startswith(("https://", "http://")) or len(source["retrieved"]) != 10
    ]  # fmt: skip


def test_at_least_300_people_and_players_are_listed() -> None:
    assert sum(map(len, BROWSERS.values())) >= 300


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
@pytest.mark.parametrize("group", BROWSERS)
def test_no_person_player_preview_or_feed_reader_is_refused(stance: str, group: str) -> None:
    guard = CompiledPolicy(load_stance(stance), CATALOG).guard
    refused = [
        (verdict.agent and verdict.agent.name, text)
        for sample in BROWSERS[group]
        for text in spellings(sample)
        if (verdict := guard.judged("/tracks/x.mp3", text)).refuses
    ]
    assert not refused


@pytest.mark.parametrize(
    "library",
    ["okhttp/4.12.0", "Apache-HttpClient/UNAVAILABLE (java 1.4)", "ktor-client/2.3.12", "axios/1.7.2", "reqwest/0.12.4",
     "libcurl/8.5.0 GnuTLS/3.8.3", "Dart/3.4 (dart:io)"],
)  # fmt: skip
def test_an_app_that_signs_with_its_library_is_the_app_and_the_library_alone_is_automation(library: str) -> None:
    def usages(user_agent: str) -> tuple[str, ...]:
        agent = CATALOG.find(user_agent.encode())
        return agent.usages if agent else ()

    assert usages(library) == usages(f" '{library}'") == usages(f"Mozilla/5.0\n{library}") == ("automation",)
    for app in ("MyBandApp/2.1", "Krant Audio/2.0.0 (org.example; Android 12; Sdk:31)", "播客/1.0", "App%20Name/3 - "):
        assert "automation" not in usages(f"{app} {library}"), app
    # Whoever has a name keeps it, on both sides of the library.
    for text in (f"GPTBot/1.2 {library}", f"{library} GPTBot/1.2", f"MyBandApp/2.1 {library} (GPTBot)"):
        assert named(text.encode()) == "GPTBot", text
    for tool in ("python-requests/2.32", "Scrapy/2.11"):
        assert named(f"{tool} {library}".encode()) == tool.partition("/")[0]


def test_every_ai_agent_is_refused_by_the_default_stance() -> None:
    plan = CompiledPolicy(load_stance(), CATALOG).guard.table
    let_in = [
        agent.name
        for agent in CATALOG.agents
        if agent.ai and plan.verdict(agent, plan.path_class("/")).action is not Action.DENY
    ]
    assert not let_in


def test_search_engines_that_also_feed_ai_are_let_in_and_say_how_to_opt_out() -> None:
    by_name = {agent.name: agent for agent in CATALOG.agents}
    for name, way in (("Googlebot", "Google-Extended"), ("bingbot", "noarchive"), ("Applebot", "Applebot-Extended")):
        agent = by_name[name]
        assert not agent.ai
        assert agent.opt_out is not None
        assert agent.opt_out.by == way


ALSO_FOR_AI = ("Bravebot", "PetalBot", "SeekportBot", "IbouBot", "YouBot", "Timpibot", "GoogleOther")


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
@pytest.mark.parametrize("name", ALSO_FOR_AI)
def test_who_serves_ai_too_and_offers_no_opt_out_is_let_in_and_check_says_so(stance: str, name: str) -> None:
    policy = load_stance(stance)
    verdict = Guard(policy, CATALOG).judged("/podcast/feed.xml", f"Mozilla/5.0 (compatible; {name}/1.0)".encode())
    assert verdict.action is Action.ALLOW
    agent = verdict.agent
    assert agent is not None
    assert agent.name == name
    assert not agent.ai
    assert agent.opt_out is not None
    notes = [note for note in opt_out_notes(policy, CATALOG) if note.startswith(f"{name} (")]
    assert len(notes) == any(map(policy.whole_site.reserves, agent.opt_out.usages))
    assert all("its operator offers no opt-out" in note for note in notes)


@pytest.mark.parametrize(
    "user_agent",
    [
        "Mozilla/5.0 (compatible; TikTokSpider; ttspider-feedback@tiktok.com)",
        "meta-externalads/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
        "IAS crawler (ias_crawler; http://integralads.com/site-indexing-policy/)",
        "Mozilla/5.0 (compatible; OAI-AdsBot/1.0; +https://openai.com/adsbot)",
    ],
)
def test_previews_and_advertising_checks_are_welcome(user_agent: str) -> None:
    assert Guard(load_stance(), CATALOG).judged("/", user_agent.encode()).action is Action.ALLOW


def test_data_brokers_are_refused_and_not_called_ai() -> None:
    table = CompiledPolicy(load_stance(), CATALOG).guard.table
    for name in ("Turnitin", "BuiltWith", "MuckRack", "Dataprovider", "ZoominfoBot", "Buck"):
        agent = next(agent for agent in CATALOG.agents if agent.name == name)
        assert not agent.ai
        assert table.verdict(agent, table.path_class("/")).action is Action.DENY


def test_every_opt_out_leads_to_something_that_is_declared() -> None:
    tokens = {agent.rfc9309_product_token for agent in CATALOG.agents if agent.robots_only}
    ways = {agent.opt_out.by for agent in CATALOG.agents if agent.opt_out and agent.opt_out.by}
    assert ways <= tokens | {"noarchive"}


def test_robots_only_agents_have_a_token_and_no_user_agent() -> None:
    only = [agent for agent in CATALOG.agents if agent.robots_only]
    assert {"Google-Extended", "Applebot-Extended"} <= {agent.name for agent in only}
    assert not [agent.name for agent in only if agent.expected_user_agent or not agent.rfc9309_product_token]


def test_no_two_agents_share_a_token() -> None:
    owners: dict[str, Agent] = {}
    shared = [
        (form, agent.name, owners[form.lower()].name)
        for agent in CATALOG.agents
        for form in agent.expected_user_agent
        if owners.setdefault(form.lower(), agent) is not agent
    ]
    assert not shared


def test_the_compiled_catalogue_is_the_one_in_the_files(tmp_path: Path) -> None:
    assert {agent.name for agent in CATALOG.agents} == {entry["name"] for entry in ENTRIES}


def test_the_words_of_browsers_occur_in_browsers_yaml() -> None:
    user_agents = [user_agent.lower() for group in BROWSERS.values() for user_agent in group]
    counts = Counter(word for user_agent in user_agents for word in set(re.findall("[a-z]+", user_agent)))
    # In the list of 2026-11-25, and not in today's.
    gone = {"fbdm", "fbfv", "galaxy", "lang", "locale", "oneplus", "playerlib"}
    assert browser_words.ALL - set(counts) == gone
    assert min(counts[word] for word in browser_words.IN_MOST) >= 30
