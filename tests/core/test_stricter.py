"""Several policies at once: nobody is let in whom one of them refuses, and what is declared is what is done."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protego import Protego

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text
from noai_guard.core.catalog import Catalog
from noai_guard.core.guard import Guard, Needs
from noai_guard.core.identity.refusing import RefusedOperators
from noai_guard.core.model import Action, Agent, Identity, Mode, Usage, Verdict, agent_of
from noai_guard.core.policy import Policy
from noai_guard.core.promised import Announcement, Promised
from noai_guard.core.questions import Count, run
from noai_guard.core.request import PlainRequest
from noai_guard.core.stricter import (
    PROMISED,
    ClaimsByPolicy,
    StricterGuard,
    all_patterns,
    sections_within,
    stricter_policy,
    swapped_sections,
)
from noai_guard.stores.memory import MemoryStore
from tests.record.ledger_kit import AGENTS

BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
PATHS = ("/", "/press/kit", "/press/audio/a.mp3", "/tracks/x", "/open/y", "/tracks/x/../../open/y", "/tracks/ab")


def policy_of(text: str) -> Policy:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    return policy


def guard_of(*texts: str, catalog: Catalog = AGENTS) -> StricterGuard:
    return StricterGuard([policy_of(text) for text in texts], catalog)


def asked(guard: Guard, path: str, user_agent: bytes, address: str = "203.0.113.7", store: Any = None) -> Verdict:
    request = PlainRequest(path, [(b"user-agent", user_agent)])
    return run(guard.examine(request, address, 1e9), store or MemoryStore(), lambda question, error: None)


def patterns(policy: Policy, pattern: str) -> list[str]:
    return [section.pattern for section in sections_within(policy, pattern)]


def test_the_sections_within_a_pattern_are_those_that_may_be_in_force_there() -> None:
    policy = policy_of(
        "paths: {/press/**: {}, /press/audio/**: {}, /tracks/*.mp3: {}, '/p*/new': {}, /one: {}, '/?/x': {}}\n"
    )
    assert patterns(policy, "/press/**") == ["/press/**"]
    assert patterns(policy, "/**") == ["/**"]
    assert patterns(policy, "/press/audio/kits/**") == ["/press/audio/**"]
    assert patterns(policy, "/press") == ["/press/**"]
    assert patterns(policy, "/tracks/a/**") == ["/tracks/*.mp3", "/?/x", "/**"]
    assert patterns(policy, "/pressing/**") == ["/p*/new", "/?/x", "/**"]
    assert all_patterns([policy, policy_of("paths: {/press/**: {}, /b: {}}")])[-1] == "/b"


DEMO = "'/tracks/*demo*': {usages: {train-ai: yes}}"
LIVE = "'/tracks/*live*': {usages: {train-ai: no}}"


def test_of_equally_specific_patterns_that_stand_in_another_order_the_stricter_one_is_declared() -> None:
    one, other = (policy_of(f"paths: {{{', '.join(pair)}}}") for pair in ((DEMO, LIVE), (LIVE, DEMO)))
    assert swapped_sections(one, other) == (("/tracks/*demo*", "/tracks/*live*"),)
    assert swapped_sections(one, one) == ()
    for policies in ([one, other], [other, one], [policy_of(""), one, other]):
        first, *_ = stricter_policy(policies).path_policies
        assert first.usages[Usage.TRAIN_AI] is Action.DENY
        assert Guard(stricter_policy(policies), AGENTS).judged("/tracks/live-demo", b"GPTBot").action is Action.DENY
    assert stricter_policy([one, one]).path_policies[0].usages[Usage.TRAIN_AI] is Action.ALLOW


def test_a_use_that_is_to_train_is_declared_as_before_until_then() -> None:
    told = "uses: [{use: radio, by: Us, trains_generative_models: no, licence: ours}]"
    looser, before = policy_of(told.replace("_models: no", "_models: yes")), policy_of(told)
    assert stricter_policy([looser, before]).uses == before.uses
    assert stricter_policy([looser, looser]).uses == looser.uses
    assert stricter_policy([before, looser]).uses == before.uses


def test_of_each_section_and_each_switch_the_strictest_is_declared() -> None:
    one = policy_of(
        "usages: {train-ai: no, seo: yes}\npaths: {/press/**: {usages: {train-ai: yes}}}\n"
        "declarations: {tdmrep: no, robots_txt: off, rsl: no}\nexemptions: {paths: [/a, /b], agents: [AhrefsBot]}\n"
        "uses: [{use: radio, by: Us, trains_generative_models: yes}, {use: ads, by: Us, trains_generative_models: no}]\n"
        "mode: monitor\nlimits: {throttle: {requests: 100, seconds: 10}}\n"
        "partners: [{name: a, usages: [seo], proof: {networks: [10.0.0.0/8]}},"
        " {name: b, usages: [seo], proof: {networks: [10.0.0.0/8]}}]\n"
    )
    other = policy_of(
        "usages: {train-ai: no, seo: no}\npaths: {/press/**: {usages: {ai-search: yes}}, /x/**: {usages: {ads: no}}}\n"
        "declarations: {robots_txt: replace}\nexemptions: {paths: [/b], addresses: [10.0.0.0/8]}\non_unknown: deny\n"
        "partners: [{name: b, usages: [seo], proof: {networks: [10.0.0.0/8]}}]\n"
        "features: {second_look: yes}\nnotices: [{text: All rights reserved.}]\n"
    )
    both = stricter_policy([one, other])
    assert both.usages[Usage.SEO] is Action.DENY
    sections = {section.pattern: section.usages for section in both.path_policies}
    assert sections["/press/**"][Usage.TRAIN_AI] is Action.DENY
    assert sections["/x/**"][Usage.ADS] is Action.DENY
    assert both.mode is Mode.ENFORCE
    assert both.declares("tdmrep")
    assert both.declares("rsl")
    assert both.declarations["robots_txt"] == "replace"
    assert (both.exemptions.paths, both.exemptions.agents) == (("/b",), frozenset())
    assert not list(both.exemptions.addresses)
    assert both.on_unknown is Action.DENY
    assert both.second_look
    assert both.throttle.requests == 60
    assert [partner.name for partner in both.partners] == ["b"]
    assert [use.use for use in both.uses] == ["ads"]
    assert len(both.notices) == 1
    assert stricter_policy([one, one]).mode is Mode.MONITOR
    reversed_order = stricter_policy([policy_of("declarations: {robots_txt: off}"), policy_of("")])
    assert reversed_order.declares("robots_txt")


def test_the_strictest_verdict_counts_and_says_that_it_was_promised() -> None:
    guard = guard_of("usages: {train-ai: yes, seo: no}", "usages: {train-ai: no, seo: yes}")
    promised = guard.judged("/", b"GPTBot/1.0")
    assert (promised.action, promised.reasons[-1]) == (Action.DENY, PROMISED)
    own = guard.judged("/", b"AhrefsBot/1.0")
    assert own.action is Action.DENY
    assert PROMISED not in own.reasons
    assert guard.judged("/", BROWSER).action is Action.ALLOW


def test_a_refusal_that_is_only_watched_is_weaker_than_one_that_is_sent() -> None:
    guard = guard_of("usages: {train-ai: no}\nmode: monitor", "usages: {train-ai: license_required}")
    verdict = guard.judged("/", b"GPTBot/1.0")
    assert (verdict.action, verdict.refuses) == (Action.LICENSE_REQUIRED, True)


def test_an_agent_that_another_policy_knows_otherwise_is_judged_by_each_as_it_knows_it() -> None:
    renamed = "agents: [{name: GPTBot, usages: [search], expected_user_agent: [GPTBot]}]"
    own = "agents: [{name: Harvester, usages: [scraper], expected_user_agent: [TrackHarvest]}]"
    guard = guard_of(renamed, own)
    claim = guard.claims[b"GPTBot/1.0"]
    assert isinstance(claim, ClaimsByPolicy)
    assert guard.judged("/", b"GPTBot/1.0").action is Action.DENY
    assert guard.judged("/", b"TrackHarvest/1.0").action is Action.DENY
    assert guard.catalog.agent("Harvester") is not None
    agent = agent_of(claim)
    assert agent is not None
    facts = guard.table.facts(agent)
    assert [usages for usages, _, _ in facts] == [(Usage.SEARCH,), (Usage.TRAIN_AI,)]
    assert guard.claims[b"AhrefsBot"] is AGENTS.agent("AhrefsBot")


def test_an_address_is_exempt_only_if_all_policies_exempt_it() -> None:
    exempt = "exemptions: {addresses: [203.0.113.0/24]}"
    guard = guard_of(exempt, "mode: enforce")
    assert guard.uses_address
    assert asked(guard, "/", b"GPTBot/1.0").action is Action.DENY
    assert asked(guard_of(exempt, exempt + "\nmode: enforce"), "/", b"GPTBot/1.0").action is Action.ALLOW


def test_a_verdict_that_nothing_can_make_stricter_needs_nothing() -> None:
    guard = guard_of("usages: {train-ai: throttle}", "usages: {train-ai: no}")
    page = guard.table.path_classes["/"]
    assert guard.needs(guard.claims[b"GPTBot"], page) is Needs.NOTHING
    throttled = guard_of("usages: {train-ai: throttle}", "usages: {train-ai: license_required}")
    needs = throttled.needs(throttled.claims[b"GPTBot"], throttled.table.path_classes["/"])
    assert needs & Needs.COUNT


def test_a_request_is_counted_once_for_all_policies() -> None:
    class Counting(MemoryStore):
        counts = 0

        def answer(self, question: Any) -> Any:
            self.counts += isinstance(question, Count)
            return super().answer(question)

    store = Counting()
    guard = guard_of(
        "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 5, seconds: 60}}",
        "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 2, seconds: 60}}",
    )
    actions = [asked(guard, "/", b"GPTBot", store=store).action for _ in range(4)]
    assert actions == [Action.ALLOW, Action.ALLOW, Action.THROTTLE, Action.THROTTLE]
    assert store.counts == 4


def test_rules_by_network_of_each_policy_hold() -> None:
    texts = [
        f"networks: {{bad: [{network}]}}\nrules: [{{networks: [bad], agents: [AhrefsBot], action: deny}}]"
        for network in ("203.0.113.0/24", "198.51.100.0/24")
    ]
    guard = guard_of(*texts)
    assert guard.origins is not None
    for address, action in (("203.0.113.7", "deny"), ("198.51.100.7", "deny"), ("192.0.2.7", "allow")):
        assert asked(guard, "/", b"AhrefsBot", address).action == action


def test_what_is_known_of_operators_is_handed_on_to_every_policy() -> None:
    guard, known = guard_of("", "mode: monitor"), RefusedOperators()
    guard.use_operators(known)
    assert guard.identity.operators is known
    assert guard.origins is None


def test_a_path_that_cannot_be_read_is_judged_by_the_strictest() -> None:
    guard = guard_of("usages: {train-ai: yes}", "paths: {/a/**: {usages: {train-ai: no}}}\nusages: {train-ai: yes}")
    unread = guard.table.unread()
    assert guard.table.verdict(guard.claims[b"GPTBot"], unread).action is Action.DENY
    target = guard.table.target_classes[(b"/%61/b",)]
    assert guard.table.verdict(guard.claims[b"GPTBot"], target).action is Action.DENY
    assert guard.table.path_class("/a/b").path_policy.pattern == "/a/**"


def test_declarations_say_what_is_done() -> None:
    loose = policy_of("usages: {train-ai: no}\npaths: {/press/**: {usages: {train-ai: yes}}}\nsite: {policy_page: /p}")
    strict = policy_of("usages: {train-ai: no}\npaths: {/tracks/**: {usages: {search: no}}}")
    compiled = CompiledPolicy(loose, AGENTS, promised=Promised((strict,)))
    robots = compiled.documents["/robots.txt"].body.decode()
    group = robots[robots.index("User-agent: GPTBot") :]
    assert "Disallow: /" in group.split("\n\n")[0]
    assert "Allow: /press/" not in group.split("\n\n")[0]
    verdict = compiled.guard.judged("/press/kit", b"GPTBot")
    assert dict(compiled.declared[verdict.path_policy].fields)[b"tdm-reservation"] == b"1"
    assert "/p" in compiled.documents


def test_an_announcement_has_the_day_in_utc() -> None:
    at = datetime(2026, 12, 30, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert Announcement(at, ()).day == "2026-12-29"


ACTIONS = st.sampled_from(["allow", "log", "throttle", "license_required", "deny"])
USAGES = st.dictionaries(
    st.sampled_from(["train-ai", "ai-search", "search", "seo", "unknown-bot"]), ACTIONS, max_size=4
)
PATTERNS = st.sampled_from(
    ["/press/**", "/press/audio/**", "/tracks/*", "/**/*.mp3", "/open/y", "/p*/kit", "/tracks/*a*", "/tracks/*b*"]
)
RULES = st.fixed_dictionaries(
    {"action": ACTIONS},
    optional={
        "agents": st.lists(st.sampled_from(["GPTBot", "SearchAI", "AhrefsBot"]), min_size=1, max_size=2, unique=True),
        "paths": st.lists(PATTERNS, min_size=1, max_size=2, unique=True),
        "usages": st.lists(st.sampled_from(["train-ai", "seo"]), min_size=1, max_size=2, unique=True),
    },
)
OWN_AGENTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["GPTBot", "Harvester"]),
        "usages": st.sampled_from([["train-ai"], ["seo"], ["search", "ai-search"], ["scraper"]]),
        "expected_user_agent": st.sampled_from([["GPTBot"], ["TrackHarvest"], ["TrackHarvest", "SearchAI"]]),
    }
)
POLICIES = st.fixed_dictionaries(
    {"usages": USAGES},
    optional={
        "paths": st.dictionaries(PATTERNS, USAGES.map(lambda usages: {"usages": usages}), max_size=3),
        "rules": st.lists(RULES, max_size=3),
        "mode": st.sampled_from(["enforce", "monitor"]),
        "unreadable": st.sampled_from(["allow", "log", "deny"]),
        "agents": st.lists(OWN_AGENTS, max_size=1),
        "exemptions": st.fixed_dictionaries(
            {},
            optional={
                "paths": st.lists(PATTERNS, max_size=2, unique=True),
                "agents": st.lists(st.sampled_from(["gptbot", "ahrefsbot"]), max_size=1),
            },
        ),
    },
)


def built(data: dict[str, Any]) -> Policy:
    from noai_guard.config import rules_source
    from noai_guard.config.build import build_policy, merge

    return build_policy(merge(rules_source().stances["no-ai"], data), "no-ai")


USER_AGENTS = (
    b"TrackHarvest/2",
    b"GPTBot/1.0",
    b"SearchAI",
    b"AhrefsBot",
    b"somebot/1",
    b"curl",
    BROWSER,
    b"x" * 9000 + b" GPTBot",
)


@given(st.lists(POLICIES, min_size=2, max_size=3))
def test_nobody_is_let_in_whom_one_of_the_policies_refuses(data: list[dict[str, Any]]) -> None:
    policies = [built(each) for each in data]
    guards = [Guard(policy, AGENTS) for policy in policies]
    both = StricterGuard(policies, AGENTS)
    for path in PATHS:
        for user_agent in USER_AGENTS:
            verdicts = [guard.judged(path, user_agent) for guard in guards]
            verdict = both.judged(path, user_agent)
            assert verdict.refuses == any(each.refuses for each in verdicts)
            enforced = [each.action.strictness for each in verdicts if each.enforced]
            assert verdict.action.strictness >= max(enforced, default=0)
            assert asked(both, path, user_agent).refuses == any(asked(g, path, user_agent).refuses for g in guards)


@given(st.lists(POLICIES, min_size=2, max_size=3))
def test_no_section_is_declared_milder_than_one_of_the_policies_has_it(data: list[dict[str, Any]]) -> None:
    policies = [built(each) for each in data]
    both = StricterGuard(policies, AGENTS)
    declared = Guard(both.policy, AGENTS).table
    for path in PATHS:
        section = declared.path_class(path.replace("/tracks/x/../..", "")).path_policy
        exact = both.table.path_class(path.replace("/tracks/x/../..", "")).path_policy
        for policy in policies:
            own = Guard(policy, AGENTS).table.path_class(path.replace("/tracks/x/../..", "")).path_policy
            for usage in Usage:
                assert own.usages[usage].strictness <= exact.usages[usage].strictness
                assert exact.usages[usage].strictness <= section.usages[usage].strictness


def test_every_identity_is_looked_up_in_each_policy() -> None:
    guard = guard_of("rules: [{identities: [verified], usages: [train-ai], action: allow}]", "usages: {train-ai: no}")
    agent: Agent | None = AGENTS.agent("GPTBot")
    page = guard.table.path_classes["/"]
    assert page.verdicts[agent, Identity.VERIFIED].action is Action.DENY
    assert replace(guard.policy).usages[Usage.TRAIN_AI] is Action.DENY


@pytest.mark.parametrize("user_agent", USER_AGENTS)
def test_one_policy_twice_is_that_policy(user_agent: bytes) -> None:
    text = "paths: {/press/**: {usages: {train-ai: yes}}}"
    both, one = guard_of(text, text), Guard(policy_of(text), AGENTS)
    for path in PATHS:
        verdict, alone = both.judged(path, user_agent), one.judged(path, user_agent)
        assert (verdict.action, verdict.rule, verdict.reasons) == (alone.action, alone.rule, alone.reasons)


DIRECTORIES = st.sampled_from(["/press/**", "/press/audio/**", "/tracks/**", "/open/y"])
PLAIN_POLICIES = st.fixed_dictionaries(
    {"usages": USAGES},
    optional={"paths": st.dictionaries(DIRECTORIES, USAGES.map(lambda usages: {"usages": usages}), max_size=3)},
)


@given(PLAIN_POLICIES, PLAIN_POLICIES)
def test_robots_txt_says_of_two_policies_what_is_done(one: dict[str, Any], other: dict[str, Any]) -> None:
    compiled = CompiledPolicy(built(one), AGENTS, promised=Promised((built(other),)))
    robots = Protego.parse(compiled.documents["/robots.txt"].body.decode())
    for path in ("/", "/press/kit", "/press/audio/a.mp3", "/tracks/x", "/open/y"):
        for name in ("GPTBot", "AhrefsBot"):
            refuses = compiled.guard.judged(path, name.encode()).action.refuses
            assert robots.can_fetch(path, name) is not refuses, (path, name)
