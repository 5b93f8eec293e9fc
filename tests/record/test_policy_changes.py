"""The difference between two policies in plain words, and whether it loosens a reservation of an AI usage."""

import re
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given

from noai_guard.core.decision_table import rule_id
from noai_guard.core.guard import Guard
from noai_guard.core.identity.settings import IdentityPolicy
from noai_guard.core.model import AI_USAGES, Usage, agent_of
from noai_guard.core.networks import NetworkSet
from noai_guard.core.policy import Creators, Policy, Site
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.core.works import Works
from noai_guard.record.canonical_json import canonical
from noai_guard.record.canonical_policy import RUNNING, policy_data, policy_digest, policy_from
from noai_guard.record.policy_changes import _SITE_WORDS, first_promises, policy_changes
from tests.core.test_stricter import PATHS, POLICIES, built
from tests.record.ledger_kit import AGENTS, policy_of

NETS = "networks: {{bad: [{0}]}}\nrules: [{{id: bad, networks: [bad], action: {1}}}]\n"
PARTNER = (
    "partners: [{{name: acme, named: yes, usages: [{0}], paths: [{1}], until: {2}, proof: {{networks: [{3}]}}}}]\n"
)
SCRAPER = "agents: [{name: Harvester, usages: [scraper], expected_user_agent: [TrackHarvest]}]"


def changes(before: str, after: str) -> dict[str, bool]:
    found = policy_changes(policy_of(before), policy_of(after), AGENTS)
    return {change.text: change.loosens for change in found}


@pytest.mark.parametrize(
    ("before", "after", "text", "loosens"),
    [
        ("", "paths: {/press/**: {usages: {train-ai: yes}}}", "training: refused -> allowed under /press/**", True),
        ("paths: {/a/**: {usages: {train-ai: yes}}}", "", "training: allowed -> refused under /a/**", False),
        ("", "usages: {ai-search: license_required}", "ai-search: refused -> allowed with a licence", True),
        ("usages: {seo: no}", "", "seo: refused -> allowed", False),
        ("usages: {train-ai: log}", "usages: {train-ai: yes}", "training: allowed, and logged -> allowed", False),
        ("", "mode: monitor", "the guard only watches, and refuses nobody (mode: enforce -> monitor)", True),
        ("on_unknown: deny", "", "programs that cannot be checked: refused -> allowed", True),
        ("", "unreadable: log", "requests that cannot be read closely: refused -> allowed, and logged", True),
        ("", "identity: {spoofed: log}", "programs under a false name: refused -> allowed, and logged", True),
        ("", "declarations: {tdmrep: no}", "tdmrep is not declared any more", True),
        ("", "declarations: {robots_txt: replace}", "how robots_txt is declared: merge -> replace", False),
        ("", "site: {owner: Night Ferry}", "the owner of the site is given: Night Ferry", False),
        ("", "exemptions: {paths: [/open/**]}", "/open/** is open to everybody, whatever the policy refuses", True),
        ("exemptions: {paths: [/open/**]}", "", "/open/** is no longer open to everybody", False),
        ("", "exemptions: {agents: [GPTBot]}", "gptbot is never refused, whatever it does (an exemption)", True),
        ("", "exemptions: {agents: [AhrefsBot]}", "ahrefsbot is never refused, whatever it does (an exemption)", False),
        ("", "exemptions: {agents: [CCBot]}", "ccbot is never refused, whatever it does (an exemption)", True),
        ("exemptions: {agents: [GPTBot]}", "", "gptbot is refused again where the policy refuses it (it was exempt)", False),
        ("", "exemptions: {addresses: [10.0.0.0/8]}", "more or other addresses are never refused (exemptions)", True),
        (
            "exemptions: {addresses: [10.0.0.0/8]}",
            "exemptions: {addresses: [10.1.0.0/16]}",
            "fewer addresses are never refused (exemptions)",
            False,
        ),
        ("", "identity: {stale_after: 3}", "days for which published networks count against who is outside: 14 -> 3", True),
        ("", "identity: {edge_ranges: yes}", "generated server configurations also refuse who names a program from outside of its networks", False),
        ("", "features: {second_look: yes}", "unknown programs are recognised by a second library too", False),
        ("features: {second_look: yes}", "", "unknown programs are recognised by the catalogue alone", False),
        ("", "identity: {networks: {GPTBot: [10.0.0.0/8]}}", "the networks in which the site itself says that programs are genuine: changed", True),
        ("", "networks: {new: [10.0.0.0/8]}", "the list of networks new changed; no rule uses it", False),
        ("", "limits: {throttle: {requests: 90, seconds: 60}}", "the ration of a program at one address: 60 requests in 60 s -> 90 requests in 60 s", False),
        (
            "usages: {train-ai: throttle}",
            "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 90, seconds: 60}}",
            "the ration of a program at one address: 60 requests in 60 s -> 90 requests in 60 s",
            True,
        ),
        ("", "uses: [{use: radio, by: Us, trains_generative_models: yes}]", "the site says that it uses recordings for radio by Us, which trains generative models", True),
        ("", "uses: [{use: radio, by: Us, trains_generative_models: no, licence: ours}]", "the site says that it uses recordings for radio by Us, which does not train generative models (licence: ours)", False),
        ("uses: [{use: radio, by: Us, trains_generative_models: no}]", "", "the site does not say any more that it uses recordings for radio by Us, which does not train generative models", False),
        ("", "notices: [{text: All rights reserved.}]", "a notice was added: All rights reserved.", False),
        ("notices: [{text: All rights reserved.}]", "", "a notice was taken away: All rights reserved.", True),
        (
            "paths: {'/t/*demo*': {usages: {train-ai: no}}, '/t/*live*': {usages: {train-ai: yes}}}",
            "paths: {'/t/*live*': {usages: {train-ai: yes}}, '/t/*demo*': {usages: {train-ai: no}}}",
            "training: refused -> allowed under /t/*demo* where /t/*live* matches too",
            True,
        ),
        # rules
        ("", "rules: [{agents: [GPTBot], action: allow, paths: [/x/**]}]", "rule rule-1 was added: allowed for gptbot under /x/**", True),
        ("", "rules: [{agents: [AhrefsBot], action: allow}]", "rule rule-1 was added: allowed for ahrefsbot", False),
        ("", "rules: [{agents: [GPTBot], action: deny}]", "rule rule-1 was added: refused for gptbot", False),
        ("rules: [{agents: [GPTBot], action: deny}]", "", "rule rule-1 was removed: refused for gptbot", False),
        (
            "rules: [{agents: [GPTBot], action: deny}]\nusages: {train-ai: yes}",
            "usages: {train-ai: yes}",
            "rule rule-1 was removed: refused for gptbot",
            True,
        ),
        ("rules: [{agents: [GPTBot], action: allow}]", "", "rule rule-1 was removed: allowed for gptbot", False),
        (
            "rules: [{usages: [train-ai], action: license_required}]",
            "rules: [{usages: [train-ai], action: throttle}]",
            "rule rule-1 was changed: allowed with a licence for train-ai -> rationed for train-ai",
            True,
        ),
        (
            "rules: [{agents: [GPTBot], action: deny, message: Never.}]",
            "rules: [{agents: [GPTBot], action: deny, message: No.}]",
            "the name or the message of rule rule-1 changed",
            False,
        ),
        (
            NETS.format("10.0.0.0/8", "deny"),
            NETS.format("10.0.0.0/8, 11.0.0.0/8", "deny"),
            "rule bad was changed: refused from the networks bad, which hold more addresses now",
            False,
        ),
        (
            NETS.format("10.0.0.0/8, 11.0.0.0/8", "deny"),
            NETS.format("10.0.0.0/8", "deny"),
            "rule bad was changed: refused from the networks bad, which hold fewer addresses now",
            True,
        ),
        (
            NETS.format("10.0.0.0/8", "throttle"),
            NETS.format("10.0.0.0/8, 11.0.0.0/8", "throttle"),
            "rule bad was changed: rationed from the networks bad, which hold more addresses now",
            True,
        ),
        (NETS.format("10.0.0.0/8", "deny"), "networks: {bad: [10.0.0.0/8]}", "rule bad was removed: refused from the networks bad", True),
        (
            "rules: [{id: a, agents: [GPTBot], action: deny}, {id: b, usages: [seo], action: log}]",
            "rules: [{id: b, usages: [seo], action: log}, {id: a, agents: [GPTBot], action: deny}]",
            "the rules stand in another order, and the first that matches decides",
            True,
        ),
        # partners
        ("", PARTNER.format("train-ai", "/**", "2030-01-01", "10.0.0.0/8"), "acme has a licence for train-ai", True),
        ("", PARTNER.format("seo", "/**", "2030-01-01", "10.0.0.0/8"), "acme has a licence for seo", False),
        (PARTNER.format("train-ai", "/**", "2030-01-01", "10.0.0.0/8"), "", "the licence of acme ended", False),
        (
            PARTNER.format("train-ai", "/**", "2030-01-01", "10.0.0.0/8"),
            PARTNER.format("train-ai", "/**", "2029-01-01", "10.1.0.0/16"),
            "the licence of acme was changed, and covers no more than before",
            False,
        ),
        (
            PARTNER.format("train-ai", "/**", "2029-01-01", "10.0.0.0/8"),
            PARTNER.format("train-ai", "/**", "2030-01-01", "10.0.0.0/8"),
            "the licence of acme was changed, and may cover more than before",
            True,
        ),
        # agents of the site's own
        ("", SCRAPER, "the site itself says what Harvester is for: scraper", False),
        (SCRAPER, "", "the site itself does not say any more what Harvester is for", True),
        (
            "",
            "agents: [{name: GPTBot, usages: [search], expected_user_agent: [GPTBot]}]",
            "the site itself says what GPTBot is for: search",
            True,
        ),
        ("", "agents: [{name: Mine, usages: [monitoring], expected_user_agent: [Minemon]}]", "the site itself says what Mine is for: monitoring", False),
    ],
)  # fmt: skip
def test_a_change_is_one_sentence_and_says_whether_it_is_looser(
    before: str, after: str, text: str, loosens: bool
) -> None:
    found = changes(before, after)
    assert found == {text: loosens}


def test_a_shorter_notice_is_looser() -> None:
    found = policy_changes(policy_of("", notice=30), policy_of("", notice=0), AGENTS)
    assert [(change.text, change.loosens) for change in found] == [
        ("notice before a looser policy takes effect: 30 days -> 0 days", True)
    ]


def test_a_first_policy_is_told_by_what_it_reserves() -> None:
    policy = policy_of("extends: no-training\nusages: {seo: throttle}\npaths: {/open/**: {usages: {train-ai: yes, seo: yes, data-broker: yes, scraper: yes}}}")  # fmt: skip
    assert [change.text for change in first_promises(policy)] == [
        "refused: training, data-broker, scraper",
        "rationed: seo",
        "nothing is refused under /open/**",
    ]


def test_a_first_policy_is_told_with_what_the_site_says_of_itself() -> None:
    policy = policy_of(
        "extends: no-training\ncreators: decide\n"
        "uses: [{use: recommendation, by: Us, trains_generative_models: no, licence: 'https://us.example/l'},"
        " {use: karaoke, by: Vendor, trains_generative_models: yes}]\n"
        "notices: [{text: All rights reserved., by: Society}, {text: Ask first.}]"
    )
    assert [change.text for change in first_promises(policy)][1:] == [
        "the site says that it uses recordings for recommendation by Us, which does not train generative models (licence: https://us.example/l)",
        "the site says that it uses recordings for karaoke by Vendor, which trains generative models",
        "a notice: Society: All rights reserved.",
        "a notice: Ask first.",
        "creators: decide",
    ]


def test_what_the_whole_site_says_is_not_repeated_for_each_section() -> None:
    press = "paths: {/press/**: {usages: {seo: no}}}\n"
    assert changes(press, press + "usages: {train-ai: yes}") == {"training: refused -> allowed": True}


def test_a_pattern_that_may_overlap_counts_where_it_is_looser() -> None:
    found = changes("paths: {'/*/kits/**': {usages: {seo: no}}}", "paths: {/press/**: {usages: {train-ai: yes}}, '/*/kits/**': {usages: {seo: no}}}")  # fmt: skip
    assert found == {
        "training: refused -> allowed under /press/**": True,
        "seo: refused -> allowed under /press/**": False,
    }


def test_how_a_site_runs_and_how_the_file_is_written_is_no_promise() -> None:
    plain = policy_of("usages: {train-ai: no}\npaths: {/b/**: {}, /a/**: {}}")
    other = policy_of(
        "# a comment\nextends: no-ai\npaths: {/a/**: {}, /b/**: {}}\nfeatures: {reload: watch}\nstore: 'memory:'\n"
        "trusted_proxies: {peers: [10.0.0.1], header: x-forwarded-for}\nworks: ['/audio/{work}.mp3']\n"
    )
    assert policy_changes(plain, other, AGENTS) == ()
    assert policy_digest(plain) == policy_digest(other)


PROMISES = {
    "usages": "usages: {seo: no}",
    "mode": "mode: monitor",
    "site": "site: {owner: Night Ferry}",
    "path_policies": "paths: {/press/**: {usages: {train-ai: yes}}}",
    "rules": "rules: [{agents: [GPTBot], action: log}]",
    "exemptions": "exemptions: {paths: [/open/**]}",
    "on_unknown": "on_unknown: deny",
    "unreadable": "unreadable: log",
    "identity": "identity: {spoofed: log}",
    "throttle": "limits: {throttle: {requests: 90}}",
    "declarations": "declarations: {tdmrep: no}",
    "second_look": "features: {second_look: yes}",
    "partners": PARTNER.format("train-ai", "/**", "2030-01-01", "10.0.0.0/8"),
    "agents": SCRAPER,
    "networks": "networks: {mine: [10.0.0.0/8]}",
    "ledger": "",
    "uses": "uses: [{use: radio, by: Us, trains_generative_models: no}]",
    "notices": "notices: [{text: All rights reserved.}]",
    "creators": "creators: decide",
}
"""Each field of a Policy that is a promise, and a policy file that changes it."""


def test_every_field_of_a_policy_is_a_promise_or_says_how_the_site_runs() -> None:
    assert {field.name for field in fields(Policy)} == {"stance", *PROMISES, *RUNNING}


@pytest.mark.parametrize("name", PROMISES)
def test_every_promise_has_a_sentence_in_both_directions(name: str) -> None:
    plain, other = policy_of(""), policy_of(PROMISES[name], notice=60 if name == "ledger" else 30)
    assert getattr(plain, name) != getattr(other, name)
    for before, after in ((plain, other), (other, plain)):
        texts = [change.text for change in policy_changes(before, after, AGENTS)]
        assert len(texts) == 1
        assert not re.search(r"cannot be compared|another order|None|True|False|not given ->", texts[0])


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("", "https://a.example", "the address of the site is given: https://a.example"),
        ("https://a.example", "", "the address of the site is not given any more; it was https://a.example"),
        ("https://a.example", "https://b.example", "the address of the site: https://a.example -> https://b.example"),
    ],
)
def test_a_fact_of_the_site_is_given_taken_away_or_replaced(before: str, after: str, text: str) -> None:
    one, other = (f"site: {{url: '{url}'}}" if url else "" for url in (before, after))
    assert changes(one, other) == {text: False}


def test_every_fact_of_the_site_has_words() -> None:
    assert set(_SITE_WORDS) == set(Site.__slots__)


def test_what_changed_in_a_rule_is_said_where_its_description_stays_the_same() -> None:
    rule = "rules: [{{id: r, headers: {{x-a: [{}]}}, action: deny}}]"
    described = "rule r was changed: refused if the header x-a, with other values of its headers"
    assert set(changes(rule.format("one"), rule.format("two"))) == {described}
    moved = changes(NETS.format("10.0.0.0/8", "deny"), NETS.format("11.0.0.0/8", "deny"))
    assert moved == {"rule bad was changed: refused from the networks bad, which hold other addresses now": True}


def test_a_long_notice_is_told_by_its_beginning() -> None:
    text = "Our repertoire is reserved by the society that represents us. " * 3
    (said,) = changes("", f"notices: [{{by: GEMA, text: '{text}'}}]")
    assert said == "a notice was added: GEMA: Our repertoire is reserved by the society that ..."


@given(POLICIES, POLICIES)
def test_no_change_reads_like_a_program(before: dict[str, Any], after: dict[str, Any]) -> None:
    for change in policy_changes(built(before), built(after), AGENTS):
        assert not re.search(r"None|True|False|cannot be compared|not given ->", change.text)


def test_a_difference_that_has_no_words_counts_as_looser(monkeypatch: pytest.MonkeyPatch) -> None:
    from noai_guard.record import policy_changes as module

    monkeypatch.setattr(module, "_DESCRIBED", ())
    found = policy_changes(policy_of(""), policy_of("features: {second_look: yes}"), AGENTS)
    assert ("what the policy says under features changed in a way that cannot be compared", True) in [
        (c.text, c.loosens) for c in found
    ]


def test_data_of_a_policy_builds_the_same_policy() -> None:
    policy = policy_of(
        "site: {url: 'https://a.example', contact: a@b.example}\nagents: [{name: H, operator: O, usages: [scraper],"
        " expected_user_agent: [Hh], networks: [10.0.0.0/8], headers: {via: [h]}, opt_out: {usages: [train-ai], by: HX},"
        " verify: {reverse_dns: [h.example]}}]\nnetworks: {bad: [192.0.2.0/24]}\nrules: [{networks: [bad], headers:"
        " {x-a: present}, identities: [unclaimed], operators: [OpenAI], usages: [train-ai], action: deny, message: m}]\n"
        "partners: [{name: p, usages: [train-ai], from: 2026-01-01, until: 2027-01-01, paths: [/a], proof: {api_key: "
        + "a"
        * 64
        + ", signature: {directory: 'https://p.example'}}}]\nidentity: {networks: {GPTBot: [10.0.0.0/8]}}\n"
        "exemptions: {paths: [/z], agents: [GPTBot], addresses: [10.0.0.0/8]}\nlimits: {throttle: {requests: 3}}\n"
    )
    rebuilt = policy_from(policy_data(policy), policy)
    assert policy_data(rebuilt) == policy_data(policy)
    assert rebuilt.rules == policy.rules
    assert rebuilt.networks == policy.networks
    assert rebuilt.exemptions == policy.exemptions
    assert rebuilt.agents[0].verify == policy.agents[0].verify
    assert policy_from(policy_data(policy)).ledger is not None


@given(POLICIES)
def test_any_policy_is_rebuilt_from_its_data(data: dict[str, Any]) -> None:
    policy = built(data)
    again = policy_from(policy_data(policy), policy)
    assert canonical(policy_data(again)) == canonical(policy_data(policy))
    for path in PATHS:
        for agent in AGENTS.agents:
            verdicts = [
                guard.table.verdict(agent, guard.table.path_classes[path])
                for guard in (Guard(policy, AGENTS), Guard(again, AGENTS))
            ]
            assert verdicts[0].action is verdicts[1].action


@given(POLICIES, POLICIES)
def test_nothing_that_is_let_in_was_refused_unless_the_change_is_called_looser(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    old, new = built(before), built(after)
    if any(change.loosens for change in policy_changes(old, new, AGENTS)):
        return
    guards = [Guard(policy, AGENTS) for policy in (old, new)]
    for user_agent in (b"GPTBot/1.0", b"SearchAI", b"TrackHarvest/2"):
        claims = [agent_of(guard.claims[user_agent]) for guard in guards]
        if not any(agent is not None and not AI_USAGES.isdisjoint(agent.usages) for agent in claims):
            continue
        for path in PATHS:
            was, now = (guard.judged(path, user_agent) for guard in guards)
            by_usage = was.usage is not None and was.rule == rule_id(was.path_policy, was.usage)
            if was.refuses and not (by_usage and was.usage not in AI_USAGES):
                assert now.refuses
                assert now.action.strictness >= was.action.strictness


def test_networks_and_identities_are_compared_by_content() -> None:
    policy = policy_of("")
    same = replace(policy, identity=IdentityPolicy(networks={"gptbot": NetworkSet(["10.0.0.0/8"])}))
    assert policy_changes(same, same, AGENTS) == ()


def test_that_the_wishes_of_creators_are_followed_is_a_promise_and_to_end_it_is_looser() -> None:
    works = Works(["/audio/{work}.mp3", "/hls/{work}/**"])
    index = WishIndex([WorkWishes("tide", {Usage.TRAIN_AI: Choice.DISALLOW})])
    site = replace(policy_of(""), works=works)
    follows = replace(site, creators=Creators("catalogue.csv", index=index))
    elsewhere = replace(site, creators=Creators("sqlite:///wishes.sqlite", index=WishIndex(known=False)))
    fewer = replace(follows, works=Works(["/hls/{work}/**"]))
    audio, hls = ("creators: their wishes for /audio/{work}.mp3 are", "creators: their wishes for /hls/{work}/** are")

    def said(before: Policy, after: Policy) -> dict[str, bool]:
        # As the ledger keeps what was before, which knows no source.
        kept = policy_from(policy_data(before), after)
        assert policy_data(kept) == policy_data(before)
        return {change.text: change.loosens for change in policy_changes(kept, after, AGENTS)}

    assert said(follows, site) == {f"{audio} not followed any more": True, f"{hls} not followed any more": True}
    assert said(site, follows) == {f"{audio} followed": False, f"{hls} followed": False}
    assert said(follows, fewer) == {f"{audio} not followed any more": True}
    assert said(follows, elsewhere) == said(elsewhere, follows) == {}
    assert policy_from(policy_data(follows), site).creators.are_lost


def test_that_creators_may_decide_is_looser_and_their_wishes_are_none_of_the_promises() -> None:
    assert changes("", "creators: decide") == {"creators may allow what the site refuses, for their own works": True}
    assert changes("creators: decide", "") == {
        "creators may not allow any more what the site refuses, for their own works": False
    }
    closed, decides = policy_of(""), policy_of("creators: decide")
    index = WishIndex([WorkWishes("tide", {Usage.TRAIN_AI: Choice.DISALLOW})])
    wished = replace(decides, creators=replace(decides.creators, index=index, source="catalogue.csv"))
    assert policy_digest(wished) == policy_digest(decides)
    again = policy_from(policy_data(closed), wished)
    assert again.creators.index is index
    assert not again.creators.decide
