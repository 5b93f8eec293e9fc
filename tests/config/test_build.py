from dataclasses import asdict
from pathlib import Path

import pytest

from noai_guard.config import check_policy_text, load_policy
from noai_guard.core.event_settings import EventSettings
from noai_guard.core.model import Action, Identity, Mode, Usage
from noai_guard.core.networks import NetworkSet
from noai_guard.core.policy import Policy, Site, Throttle
from noai_guard.core.uses import Notice, Use

GOOD = Path(__file__).parent / "good"


def policy_of(text: str) -> Policy:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    return policy


@pytest.mark.parametrize(
    "no", ["no", "No", "NO", "'no'", '"No"', "off", "Off", "n", "N", "false", "False", "disallow", "deny", "Deny",
           "disallowed"],
)  # fmt: skip
def test_no_is_no_however_it_is_written(no: str) -> None:
    policy = policy_of(f"extends: no-training\nusages: {{ai-input: {no}}}")
    assert policy.usages[Usage.AI_INPUT] is Action.DENY


@pytest.mark.parametrize("yes", ["yes", "Yes", "'yes'", "on", "y", "true", "TRUE", "allow", "Allowed"])
def test_yes_is_yes_however_it_is_written(yes: str) -> None:
    assert policy_of(f"usages: {{train-ai: {yes}}}").usages[Usage.TRAIN_AI] is Action.ALLOW


def test_a_file_of_every_key_becomes_a_policy_of_these_values() -> None:
    policy = load_policy(GOOD / "everything.yaml")
    assert policy.stance == "no-training"
    assert policy.mode is Mode.MONITOR
    assert policy.site == Site(
        url="https://example.org",
        name="Example",
        owner="Example Records",
        contact="mailto:rights@example.org",
        policy_page="/ai-policy",
        licence="https://example.org/licence",
        tdm_policy="https://example.org/tdm.json",
    )
    assert policy.usages[Usage.TRAIN_AI] is Action.LICENSE_REQUIRED
    assert policy.usages[Usage.AI_SEARCH] is Action.THROTTLE
    assert policy.usages[Usage.AI_INPUT] is Action.ALLOW
    friends, openai, sellers = policy.rules
    assert (friends.id, friends.action, friends.paths) == ("friends", Action.ALLOW, ("/press/**", "/open/*"))
    assert friends.agents == {"ccbot", "claudebot"}
    assert (openai.id, openai.action, openai.message) == ("rule-2", Action.LICENSE_REQUIRED, "Ask us first.")
    assert openai.identities == {Identity.UNVERIFIED, Identity.SPOOFED}
    assert sellers.usages == {Usage.DATA_BROKER, Usage.SCRAPER}
    assert sellers.paths == ("/tracks/**",)
    assert policy.exemptions.paths == ("/feed.xml",)
    assert policy.exemptions.agents == {"googlebot"}
    assert policy.exemptions.addresses == NetworkSet(["192.0.2.1", "2001:db8::/32", "10.0.0.0/8"])
    assert policy.on_unknown is Action.DENY
    assert policy.trusted_proxies.header == "x-forwarded-for"
    assert policy.trusted_proxies.unix
    assert policy.trusted_proxies.max_hops == 2
    assert policy.throttle == Throttle(10, 60)
    assert policy.store == "redis://noai:secret@127.0.0.1:6379/1"
    assert "secret" not in repr(policy)
    assert policy.store_deadline == 20
    assert policy.declarations == {
        "robots_txt": "replace", "x_robots_tag": True, "noarchive": False, "noml": True, "content_usage": True,
        "content_signal": True, "content_signal_header": True, "tdmrep": True, "html_meta": True,
        "licence_link": False, "rsl": True, "ai_txt": False, "trust_txt": False,
        "policy_page": False,
    }  # fmt: skip
    assert policy.second_look
    assert policy.shared_cache
    assert policy.reload == "watch"


def test_a_site_file_changes_only_what_it_names() -> None:
    stance, changed = policy_of("extends: search-only"), policy_of("extends: search-only\nusages: {archive: yes}")
    assert {usage for usage in Usage if stance.usages[usage] is not changed.usages[usage]} == {Usage.ARCHIVE}
    assert changed.declarations == stance.declarations


def test_names_in_other_scripts_stay_and_addresses_become_ascii() -> None:
    site = load_policy(GOOD / "other_scripts.yaml").site
    assert site.name == "Sigur Rós, 音楽, موسيقى"
    assert site.owner == "Björk Guðmundsdóttir"
    assert site.url == "https://xn--mller-schallplatten-59b.example/l%C3%A4den"
    assert site.contact == "mailto:J%C3%BCrgen@xn--bcher-kva.example"
    assert site.licence == "https://xn--fa-hia.example/%C3%A4?%C3%B6=%C3%BC#%C3%9F"
    assert site.policy_page == "https://xn--mller-kva.example/ki"
    assert site.tdm_policy == "https://xn--r8jz45g.example/"


def test_numbers_are_good_names() -> None:
    policy = load_policy(GOOD / "numbers_as_names.yaml")
    assert (policy.site.name, policy.site.owner, policy.rules[0].message) == ("1975", "3.10", "404")


def test_path_patterns_are_kept_in_one_form() -> None:
    policy = policy_of("paths: {/a/**/**: {usages: {search: no}}}\nexemptions: {paths: [/b/**/**/c]}")
    assert policy.path_policies[0].pattern == "/a/**"
    assert policy.exemptions.paths == ("/b/**/c",)


def test_events_go_where_the_policy_says() -> None:
    policy = load_policy(GOOD / "events.yaml")
    assert policy.events == EventSettings(
        to=("files", "syslog:/dev/log", "syslog://[2001:db8::1]", "stdout"),
        folder=str(GOOD / "log"),
        full_addresses=True,
        keep_keys=True,
        keep=42,
        file_size=10,
    )
    assert policy_of("events: {}").events == EventSettings()
    assert policy_of("mode: enforce").events is None


def test_uses_and_notices_are_plain_data() -> None:
    policy = load_policy(GOOD / "uses_and_notices.yaml")
    assert policy.uses == (
        Use("recommendation", "Band", trains_generative_models=False),
        Use("content-identification", "Vendor", False, "https://xn--bcher-kva.example/%C3%A4"),
        Use("Voices", "Vendor", True, "by contract"),
    )
    assert policy.notices == (Notice("First line\nand second.\n\nNew paragraph.", "Society", "pt-BR"), Notice("All"))
    assert [asdict(notice) for notice in policy.notices][1] == {"text": "All", "by": "", "lang": ""}
    without = policy_of("mode: enforce")
    assert (without.uses, without.notices) == ((), ())
