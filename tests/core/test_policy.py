"""The judge and the policy: who is let in where, by which rule, and for what reasons."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.config import check_policy_text, load_catalog, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.decision_table import DecisionTable, rule_id, strictest_section, strictest_usages
from noai_guard.core.guard import Guard
from noai_guard.core.identity.reverse_dns import HostName
from noai_guard.core.model import UNKNOWN_BOT, Action, Agent, Identity, OptOut, Usage, Verdict
from noai_guard.core.opt_outs import bing_directive, opt_out_notes
from noai_guard.core.policy import OWN_RULE_IDS, Creators, Policy
from noai_guard.core.questions import Count, Question, run
from noai_guard.core.request import PlainRequest
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.works import Works
from noai_guard.errors import Unanswered
from noai_guard.stores.memory import MemoryStore

STANCES = {
    # usage: (no-ai, no-training, search-only), the table that the stances promise
    "train-ai": ("deny", "deny", "deny"),
    "data-broker": ("deny", "deny", "deny"),
    "scraper": ("deny", "deny", "deny"),
    "ai-search": ("deny", "allow", "deny"),
    "ai-input": ("deny", "allow", "deny"),
    "ai-agent": ("deny", "allow", "deny"),
    "search": ("allow", "allow", "allow"),
    "preview": ("allow", "allow", "allow"),
    "feed": ("allow", "allow", "allow"),
    "player": ("allow", "allow", "allow"),
    "monitoring": ("allow", "allow", "allow"),
    "ads": ("allow", "allow", "allow"),
    "archive": ("allow", "allow", "deny"),
    "seo": ("allow", "allow", "deny"),
    "automation": ("log", "log", "log"),
    "unknown-bot": ("log", "log", "log"),
    "nameless": ("log", "log", "log"),
}
NAMES = ("no-ai", "no-training", "search-only")

ONE_EACH = Catalog(
    [
        Agent(f"Test-{usage}", "Test", (usage,), (f"Test-{usage}",))
        for usage in Usage
        if usage not in (Usage.UNKNOWN_BOT, Usage.NAMELESS)
    ]
)


def policy_of(text: str) -> Policy:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    return policy


def judged(text: str, user_agent: str, path: str = "/", catalog: Catalog | None = None) -> Verdict:
    return Guard(policy_of(text), catalog or load_catalog()).judged(path, user_agent.encode())


class Questions:
    """Answers every count with the same number, nothing else, and remembers what was asked."""

    def __init__(self, answer: int | None) -> None:
        self.asked: list[Question[Any]] = []
        self._answer = answer

    def answer(self, question: Question[Any]) -> int:
        self.asked.append(question)
        if self._answer is None or not isinstance(question, Count):
            raise Unanswered("nobody there")
        return self._answer


class Asked(NamedTuple):
    path: str
    user_agent: bytes = b""
    address: str | None = None
    received_at: float = 0.0


def examined(text: str, asked: Asked, store: Questions | MemoryStore) -> Verdict:
    request = PlainRequest(asked.path, [(b"user-agent", asked.user_agent)])
    examination = Guard(policy_of(text), load_catalog()).examine(request, asked.address, asked.received_at)
    return run(examination, store, lambda question, error: None)


def cells() -> Iterator[tuple[str, str, str]]:
    for usage, actions in STANCES.items():
        for stance, action in zip(NAMES, actions, strict=True):
            yield stance, usage, action


def test_the_table_names_every_usage() -> None:
    assert set(STANCES) == set(Usage)


@pytest.mark.parametrize(("stance", "usage", "action"), list(cells()))
def test_a_stance_does_to_every_usage_what_it_promises(stance: str, usage: str, action: str) -> None:
    guard = Guard(load_stance(stance), ONE_EACH)
    user_agent = {"unknown-bot": "NobodysBot/1.0", "nameless": "foo/1.0"}.get(usage, f"Test-{usage}/1.0")
    verdict = guard.judged("/tracks/1.mp3", user_agent.encode())
    assert (verdict.action, verdict.usage, verdict.rule) == (action, usage, usage)
    assert verdict.refuses == (action == "deny")


@pytest.mark.parametrize("stance", NAMES)
def test_a_listener_is_let_in_by_every_stance(stance: str) -> None:
    browser = b"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
    verdict = Guard(load_stance(stance), load_catalog()).judged("/", browser)
    assert (verdict.action, verdict.rule, verdict.agent) == (Action.ALLOW, "unclaimed", None)


@pytest.mark.parametrize("stance", NAMES)
@pytest.mark.parametrize(
    ("user_agent", "by"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Google-Extended"),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "noarchive"),
        ("Mozilla/5.0 (compatible; Applebot/0.1; +http://www.apple.com/go/applebot)", "Applebot-Extended"),
    ],
)
def test_an_agent_for_search_and_ai_stays_let_in_and_check_says_so(stance: str, user_agent: str, by: str) -> None:
    policy = load_stance(stance)
    verdict = Guard(policy, load_catalog()).judged("/", user_agent.encode())
    assert verdict.action is Action.ALLOW
    assert verdict.agent is not None
    notes = list(opt_out_notes(policy, load_catalog()))
    assert any(note.startswith(verdict.agent.name) and by in note and "stays let in" in note for note in notes)


def test_the_opt_out_usages_of_an_agent_never_decide() -> None:
    agent = Agent("Both", "Test", (Usage.SEARCH,), ("Both",), opt_out=OptOut((Usage.TRAIN_AI,), "Both-Extended"))
    assert judged("usages: {train-ai: no}", "Both/1", catalog=Catalog([agent])).action is Action.ALLOW


def test_several_usages_of_an_agent_combine_to_the_strictest() -> None:
    catalog = Catalog([Agent("Both", "Test", (Usage.SEARCH, Usage.SEO, Usage.ARCHIVE), ("Both",))])
    verdict = judged("usages: {search: yes, seo: license_required, archive: throttle}", "Both/1", catalog=catalog)
    assert (verdict.action, verdict.usage, verdict.rule) == (Action.LICENSE_REQUIRED, Usage.SEO, "seo")


def test_of_equally_strict_usages_the_first_listed_names_the_verdict() -> None:
    catalog = Catalog([Agent("Both", "Test", (Usage.AI_INPUT, Usage.TRAIN_AI), ("Both",))])
    assert judged("extends: no-ai", "Both/1", catalog=catalog).usage is Usage.AI_INPUT


@given(st.lists(st.sampled_from(list(Usage)), min_size=1, unique=True), st.data())
def test_an_agent_is_never_treated_milder_than_one_of_its_usages(usages: list[Usage], data: st.DataObject) -> None:
    wishes = {usage: data.draw(st.sampled_from(list(Action))) for usage in Usage}
    catalog = Catalog([Agent("Many", "Test", tuple(usages), ("Many",))])
    verdict = Guard(Policy("test", wishes), catalog).judged("/", b"Many/1")
    assert verdict.action.strictness == max(wishes[usage].strictness for usage in usages)


SECTIONS = """
paths:
  /press/**: {usages: {train-ai: yes, search: throttle}}
  /press/embargo/**: {usages: {search: no}}
  /press/embargo/today.html: {usages: {train-ai: log}}
  /**/*.flac: {usages: {archive: no}}
"""


@pytest.mark.parametrize(
    ("path", "train_ai", "search", "archive"),
    [
        ("/", "deny", "allow", "allow"),
        ("/press", "allow", "throttle", "allow"),
        ("/press/", "allow", "throttle", "allow"),
        ("/press/kit.pdf", "allow", "throttle", "allow"),
        ("/pressure", "deny", "allow", "allow"),
        ("/press/embargo/x", "deny", "deny", "allow"),
        ("/press/embargo/today.html", "log", "allow", "allow"),
        ("/a/b.flac", "deny", "allow", "deny"),
        ("/press/b.flac", "allow", "throttle", "allow"),
    ],
)
def test_the_most_specific_path_counts_and_overrides_only_what_it_names(
    path: str, train_ai: str, search: str, archive: str
) -> None:
    actions = [
        judged(SECTIONS, f"Test-{usage}/1", path, ONE_EACH).action for usage in ("train-ai", "search", "archive")
    ]
    assert actions == [train_ai, search, archive]


def test_a_verdict_names_its_section() -> None:
    verdict = judged(SECTIONS, "Test-search/1", "/press/kit.pdf", ONE_EACH)
    assert (verdict.path_policy.pattern, verdict.rule) == ("/press/**", "search@/press/**")
    assert verdict.reasons[-1] == "the policy says throttle for search under /press/**"


def test_the_order_of_sections_in_the_file_changes_nothing() -> None:
    turned = "paths:\n" + "".join(f"{line}\n" for line in reversed(SECTIONS.strip().splitlines()[1:]))
    for path in ("/press/kit.pdf", "/press/embargo/x", "/press/embargo/today.html", "/press/b.flac"):
        for usage in ("train-ai", "search", "archive"):
            one, other = (judged(text, f"Test-{usage}/1", path, ONE_EACH) for text in (SECTIONS, turned))
            assert one.action is other.action


RULES = """
rules:
  - {id: press-only, agents: [gptbot], paths: [/press/**], action: allow}
  - {id: openai, operators: [openai], action: license_required, message: Write to us.}
  - {id: sellers, usages: [data-broker, seo], action: throttle}
  - {id: people-log, identities: [unclaimed], paths: [/secret/**], action: log}
"""


@pytest.mark.parametrize(
    ("user_agent", "path", "rule", "action"),
    [
        ("GPTBot/1.2", "/press/kit", "press-only", "allow"),
        ("GPTBot/1.2", "/tracks", "openai", "license_required"),
        ("ChatGPT-User/1.0", "/press/kit", "openai", "license_required"),
        ("ClaudeBot/1.0", "/press/kit", "train-ai", "deny"),
        ("AhrefsBot/7.0", "/", "sellers", "throttle"),
        ("AhrefsBot/7.0", "/secret/x", "sellers", "throttle"),
        ("Mozilla/5.0 Firefox/143.0", "/secret/x", "people-log", "log"),
        ("Mozilla/5.0 Firefox/143.0", "/", "unclaimed", "allow"),
        ("NobodysBot/1.0", "/secret/x", "people-log", "log"),
        ("NobodysBot/1.0", "/", "unknown-bot", "log"),
    ],
)
def test_the_first_rule_that_holds_decides_before_the_usages(
    user_agent: str, path: str, rule: str, action: str
) -> None:
    verdict = judged(RULES, user_agent, path)
    assert (verdict.rule, verdict.action) == (rule, action)


def test_a_rule_brings_its_message() -> None:
    verdict = judged(RULES, "GPTBot/1.2", "/tracks")
    assert verdict.message == "Write to us."
    assert verdict.reasons == (
        "the user agent names GPTBot (OpenAI), known for train-ai",
        "rule openai says license_required",
    )


def test_all_conditions_of_a_rule_must_hold() -> None:
    text = "rules: [{id: both, operators: [OpenAI], usages: [ai-input], action: log}]"
    assert judged(text, "ChatGPT-User/1.0").rule == "both"
    assert judged(text, "GPTBot/1.2").rule == "train-ai"
    assert judged(text, "Claude-User/1.0").rule == "ai-input"


def test_a_rule_about_spoofed_clients_does_not_hold_for_an_unverified_claim() -> None:
    assert (
        judged("rules: [{id: fakes, identities: [spoofed], usages: [search], action: deny}]", "bingbot/2.0").rule
        != "fakes"
    )


EXEMPTIONS = """
exemptions:
  paths: [/feed.xml, /open/**]
  agents: [ccbot]
  addresses: [192.0.2.0/24, '2001:db8::/32']
rules: [{id: everybody, agents: [CCBot, GPTBot], action: deny}]
"""


def test_an_exempt_path_is_open_to_everyone() -> None:
    verdict = judged(EXEMPTIONS, "GPTBot/1.2", "/open/a.mp3")
    assert (verdict.action, verdict.rule) == (Action.ALLOW, "exempt-path")
    assert judged(EXEMPTIONS, "GPTBot/1.2", "/feed.xml/2").rule == "everybody"


def test_an_exempt_agent_is_let_in_before_any_rule() -> None:
    verdict = judged(EXEMPTIONS, "CCBot/2.0")
    assert (verdict.action, verdict.rule) == (Action.ALLOW, "exempt-agent")


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("192.0.2.200", "exempt-address"),
        ("2001:db8::1", "exempt-address"),
        ("192.0.3.1", "everybody"),
        (None, "everybody"),
    ],
)
def test_an_exempt_address_is_let_in(address: str | None, rule: str) -> None:
    nobody = Questions(None)
    verdict = examined(EXEMPTIONS, Asked("/", b"GPTBot/1.2", address), nobody)
    assert verdict.rule == rule
    assert nobody.asked == []


def test_monitor_mode_judges_the_same_and_refuses_nobody() -> None:
    enforced, watched = judged("mode: enforce", "GPTBot/1.2"), judged("mode: monitor", "GPTBot/1.2")
    assert (watched.action, watched.rule, watched.reasons) == (enforced.action, enforced.rule, enforced.reasons)
    assert enforced.refuses
    assert not watched.refuses


@pytest.mark.parametrize(
    ("action", "refuses"),
    [("allow", False), ("log", False), ("throttle", True), ("license_required", True), ("deny", True)],
)
def test_what_refuses_and_what_does_not(action: str, refuses: bool) -> None:
    assert judged(f"usages: {{train-ai: {action}}}", "GPTBot/1.2").refuses is refuses


THROTTLE = "usages: {search: throttle}\nlimits: {throttle: {requests: 3, seconds: 10}}\n"


def test_a_throttled_agent_is_let_in_up_to_its_rate_and_then_told_when_to_come_again() -> None:
    backend = MemoryStore()
    at = [0.0, 1.0, 2.0, 3.0, 9.9, 10.0]
    verdicts = [
        examined(THROTTLE, Asked("/", b"bingbot/2.0", "192.0.2.1", received_at=second), backend) for second in at
    ]
    assert [verdict.action for verdict in verdicts] == ["allow", "allow", "allow", "throttle", "throttle", "allow"]
    assert [verdict.retry_after for verdict in verdicts] == [0, 0, 0, 10, 10, 0]
    assert verdicts[0].reasons[-1] == "within 3 requests in 10 s"
    assert verdicts[3].reasons[-1] == "more than 3 requests in 10 s"
    assert {verdict.rule for verdict in verdicts} == {"search"}


def test_the_judge_asks_for_the_name_of_the_address_and_for_a_count() -> None:
    questions = Questions(1)
    examined(THROTTLE, Asked("/", b"bingbot/2.0", "192.0.2.1", received_at=7.0), questions)
    names = HostName("192.0.2.1", (".search.msn.com",))
    assert questions.asked == [names, Count("bingbot|192.0.2.1/32", 10, 7.0, 3)]


@pytest.mark.parametrize(
    "user_agent", [b"GPTBot/1.2", b"Mozilla/5.0 Firefox/143.0", b"", b"curl/8.0", b"AhrefsBot/7.0"]
)
def test_without_a_throttle_nothing_is_asked(user_agent: bytes) -> None:
    questions = Questions(1)
    examined("extends: search-only", Asked("/", user_agent), questions)
    assert questions.asked == []


@pytest.mark.parametrize("on_unknown", ["allow", "deny"])
def test_when_nobody_can_count_on_unknown_decides(on_unknown: str) -> None:
    verdict = examined(f"{THROTTLE}on_unknown: {on_unknown}\n", Asked("/", b"bingbot/2.0"), Questions(None))
    assert (verdict.action, verdict.rule) == (on_unknown, "search")
    assert verdict.reasons[-1] == f"requests could not be counted; on_unknown says {on_unknown}"


def test_clients_of_one_address_block_share_a_count_and_agents_do_not() -> None:
    questions = Questions(1)
    for user_agent, address in [
        (b"bingbot/2.0", "2001:db8::1"), (b"bingbot/2.0", "2001:db8::2"), (b"YandexBot/3.0", "2001:db8::1"),
    ]:  # fmt: skip
        examined(THROTTLE, Asked("/", user_agent, address), questions)
    first, second, third = (question.key for question in questions.asked if isinstance(question, Count))
    assert first == second != third


def test_the_reasons_of_a_refusal_read_well() -> None:
    assert judged("extends: no-ai", "GPTBot/1.2").reasons == (
        "the user agent names GPTBot (OpenAI), known for train-ai",
        "the policy says deny for train-ai",
    )
    assert judged("extends: no-ai", "NobodysBot/1.0").reasons == (
        "the user agent calls itself a bot and is in no catalogue",
        "the policy says log for unknown-bot",
    )
    assert judged("extends: no-ai", "Mozilla/5.0 Firefox/143.0").reasons == (
        "the user agent names no known automated client",
        "nobody in the catalogue",
    )


def test_a_client_that_names_nobody_is_unclaimed_and_a_claim_is_unverified() -> None:
    assert judged("", "Mozilla/5.0 Firefox/143.0").identity is Identity.UNCLAIMED
    assert judged("", "NobodysBot/1.0").identity is Identity.UNCLAIMED
    assert judged("", "NobodysBot/1.0").agent is UNKNOWN_BOT
    assert judged("", "GPTBot/1.2").identity is Identity.UNVERIFIED


paths = st.sampled_from(
    ["/", "/press/kit", "/press/embargo/today.html", "/a/b.flac", "/secret/x", "/open/1", "/feed.xml"]
)
user_agents = st.sampled_from(
    [b"GPTBot/1.2", b"CCBot/2.0", b"bingbot/2.0", b"NobodysBot/1", b"Mozilla/5.0 Firefox/143.0", b"AhrefsBot/7"]
)


@given(paths, user_agents, st.sampled_from([SECTIONS, RULES, EXEMPTIONS]))
def test_every_verdict_carries_the_id_of_a_rule_or_a_usage_or_one_of_ours(
    path: str, user_agent: bytes, text: str
) -> None:
    guard = Guard(policy_of(text), load_catalog())
    verdict = guard.judged(path, user_agent)
    by_usage = {rule_id(path_policy, usage) for path_policy in guard.table.path_policies for usage in Usage}
    assert verdict.rule in by_usage.union(OWN_RULE_IDS, (rule.id for rule in guard.policy.rules))
    assert guard.judged(path, user_agent) is verdict


def test_paths_that_are_treated_alike_share_a_zone() -> None:
    plan = DecisionTable(policy_of(SECTIONS), load_catalog())
    assert plan.path_class("/press/a") is plan.path_class("/press/b")
    assert plan.path_class("/press/a") is not plan.path_class("/tracks/a")


def test_notes_name_agents_that_exist_only_in_robots_txt() -> None:
    notes = "\n".join(opt_out_notes(load_stance("no-ai"), load_catalog()))
    assert "Google-Extended (Google) exists only in robots.txt: declared, never enforced." in notes
    assert not list(opt_out_notes(policy_of("usages: {" + ", ".join(f"{u}: yes" for u in Usage) + "}"), load_catalog()))


@pytest.mark.parametrize(
    ("usages", "directive"),
    [
        ("{train-ai: no, ai-input: no, ai-search: no}", "noarchive"),
        ("{train-ai: no, ai-input: yes, ai-search: yes, ai-agent: no}", "nocache"),
        ("{train-ai: license_required, ai-input: yes, ai-search: yes}", "nocache"),
        ("{train-ai: no, ai-input: yes, ai-search: throttle}", "noarchive"),
        ("{train-ai: yes, ai-input: no, ai-search: yes}", "noarchive"),
        ("{train-ai: yes, ai-input: yes, ai-search: yes}", ""),
    ],
)
def test_bing_is_asked_for_what_is_reserved_and_no_more(usages: str, directive: str) -> None:
    assert bing_directive(policy_of(f"usages: {usages}").whole_site) == directive


BINGBOT = Catalog([Agent("bingbot", "Microsoft", (Usage.SEARCH,), ("bingbot",),
                         opt_out=OptOut((Usage.TRAIN_AI, Usage.AI_INPUT), "noarchive"))])  # fmt: skip
EXTENDED = Catalog([Agent("G-Extended", "G", (Usage.TRAIN_AI,), rfc9309_product_token="G-Extended", robots_only=True)])


@pytest.mark.parametrize(
    ("catalog", "text", "expected"),
    [
        (BINGBOT, "extends: no-ai", "is declared (X-Robots-Tag: noarchive)."),
        (BINGBOT, "extends: no-training", "is declared (X-Robots-Tag: nocache). Title and snippet may"),
        (BINGBOT, "declarations: {x_robots_tag: no}", "is declared (meta robots: noarchive)."),
        (BINGBOT, "declarations: {x_robots_tag: no, html_meta: no}", "is not declared, because the policy"),
        (BINGBOT, "declarations: {noarchive: no}", "is not declared, because the policy"),
        (BINGBOT, "usages: {search: no}", ""),
        (BINGBOT, "rules: [{agents: [bingbot], action: deny}]", ""),
        (BINGBOT, "extends: no-training\nusages: {train-ai: yes}", ""),
        (BINGBOT, "rules: [{agents: [bingbot], paths: [/a/**], action: deny}]", "it stays let in"),
        (EXTENDED, "extends: no-ai", "exists only in robots.txt: declared, never enforced."),
        (EXTENDED, "declarations: {robots_txt: off}", "exists only in robots.txt: not declared, because"),
        (EXTENDED, "usages: {train-ai: yes}", ""),
    ],
)
def test_notes_say_how_an_agent_that_can_only_be_asked_is_asked(catalog: Catalog, text: str, expected: str) -> None:
    notes = list(opt_out_notes(policy_of(text), catalog))
    assert len(notes) == bool(expected)
    assert all(expected in note for note in notes)


def test_a_second_look_finds_bots_that_do_not_say_so() -> None:
    slurp = "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)"
    empty = Catalog(())
    assert judged("extends: no-ai", slurp, catalog=empty).rule == "unclaimed"
    assert judged("features: {second_look: yes}", slurp, catalog=empty).rule == "unknown-bot"
    assert judged("features: {second_look: yes}", "Mozilla/5.0 Firefox/143.0", catalog=empty).rule == "unclaimed"


def test_rules_with_very_many_overlapping_paths_are_judged_in_bounded_memory() -> None:
    letters = "abcdefghijklm"
    rules = "".join(f"  - {{id: {letter}, paths: [/**{letter}**], action: log}}\n" for letter in letters)
    plan = DecisionTable(policy_of(f"rules:\n{rules}"), Catalog(()))
    for number in range(2 ** len(letters)):
        chosen = "".join(letter for place, letter in enumerate(letters) if number >> place & 1)
        path_class = plan.path_class(f"/{chosen}")
        assert [rule.id for rule in path_class.rules] == list(chosen)
    assert len(plan._path_classes) <= 4096


TRACKS_CLOSED = "usages: {train-ai: yes, search: no}\npaths: {/tracks/**: {usages: {train-ai: no}}, /Press/**: {}}\n"
HIDDEN = b"Mozilla/5.0 " + b"x" * 2000 + b"GPTBot" + b"x" * 2000


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/tracks/1", "train-ai@/tracks/**"),
        ("/TRACKS/1", "train-ai@/tracks/**"),
        ("/Tracks", "train-ai@/tracks/**"),
        ("/tracks/../press/1", "train-ai@/tracks/**"),
        ("/press/../tracks/1", "train-ai@/tracks/**"),
        ("/press/1", "train-ai"),
        ("/press/../shop", "train-ai"),
        ("/shop/" + "a" * 9_000, "unreadable"),
        ("/shop//" + "a" * 2_000, "unreadable"),
        ("/tracks/" + "a" * 9_000, "train-ai@/tracks/**"),
    ],
)
def test_the_strictest_reading_of_a_path_counts(path: str, rule: str) -> None:
    verdict = judged(TRACKS_CLOSED, "GPTBot/1", path)
    assert verdict.rule == rule
    assert verdict.action.refuses == (rule != "train-ai")
    assert judged(TRACKS_CLOSED, "Mozilla/5.0 Firefox/143.0", path).rule == "unclaimed"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (TRACKS_CLOSED, True),
        (TRACKS_CLOSED + "unreadable: log\n", False),
        (TRACKS_CLOSED + "exemptions: {agents: [GPTBot]}\n", False),
        (TRACKS_CLOSED + "rules: [{id: friend, agents: [GPTBot], action: allow}]\n", False),
        (TRACKS_CLOSED + "rules: [{id: friend, agents: [CCBot], action: allow}]\n", True),
        (TRACKS_CLOSED + "rules: [{id: friend, agents: [GPTBot], paths: [/press/**], action: allow}]\n", True),
        ("usages: {train-ai: yes}\nrules: [{id: foe, agents: [GPTBot], paths: [/x], action: deny}]\n", True),
        ("usages: {train-ai: yes}\npaths: {/tracks/**: {}}\n", False),
    ],
)
def test_a_path_that_is_not_read_refuses_who_is_refused_on_some_path(text: str, refused: bool) -> None:
    assert judged(text, "GPTBot/1", "/shop/" + "a" * 9_000).action.refuses is refused
    assert not judged(text, "Mozilla/5.0 Firefox/143.0", "/shop/" + "a" * 9_000).action.refuses


def test_requests_that_nobody_understood_refuse_who_is_refused_on_some_path() -> None:
    table = DecisionTable(policy_of(TRACKS_CLOSED), load_catalog())
    assert table.verdict(load_catalog().agent("GPTBot"), table.unread()).rule == "unreadable"
    assert table.verdict(None, table.unread()).rule == "unclaimed"


@pytest.mark.parametrize(
    ("text", "path", "rule"),
    [
        (TRACKS_CLOSED, "/tracks/1", "unreadable"),
        (TRACKS_CLOSED, "/shop", "unclaimed"),
        (TRACKS_CLOSED + "unreadable: allow\n", "/tracks/1", "unclaimed"),
        (TRACKS_CLOSED + "exemptions: {paths: [/tracks/1]}\n", "/tracks/1", "exempt-path"),
    ],
)
def test_a_name_somewhere_in_a_long_user_agent_counts_where_its_agent_is_refused(
    text: str, path: str, rule: str
) -> None:
    verdict = Guard(policy_of(text), load_catalog()).judged(path, HIDDEN)
    assert (verdict.rule, verdict.agent, verdict.usage) == (rule, None, None)


def test_a_refusal_by_name_is_not_softened_by_what_cannot_be_read() -> None:
    verdict = Guard(policy_of(TRACKS_CLOSED), load_catalog()).judged("/tracks/1", b"Googlebot/2.1 " + HIDDEN)
    assert verdict.rule == "search@/tracks/**"


def test_a_path_in_several_spellings_is_judged_under_all_of_them() -> None:
    table = DecisionTable(policy_of(TRACKS_CLOSED), load_catalog())
    gptbot = load_catalog().agent("GPTBot")
    assert not table.verdict(gptbot, table.target_classes[(b"/press/1",)]).action.refuses
    for targets in ((b"/press/1", b"/tracks/1"), (b"/press/..%2ftracks/1",), (b"/press/%c0%ae%c0%ae/tracks",)):
        assert table.verdict(gptbot, table.target_classes[targets]).action.refuses


@pytest.mark.parametrize(("text", "refused"), [("", True), ("declarations: {robots_txt: off}\n", False)])
def test_robots_txt_is_open_where_the_guard_publishes_none(text: str, refused: bool) -> None:
    assert judged(text, "GPTBot/1", "/robots.txt").action.refuses is refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("extends: no-ai", False),
        ("usages: {seo: license_required}", True),
        ("rules: [{agents: [GPTBot], action: license_required}]", True),
        ("rules: [{agents: [GPTBot], action: throttle}]", False),
    ],
)
def test_a_402_can_come_where_a_usage_or_a_rule_needs_a_licence(text: str, expected: bool) -> None:
    policy = policy_of(text)
    assert policy.sells(policy.whole_site) is expected


def test_a_rule_that_refuses_people_somewhere_refuses_nobody_without_a_name_where_a_path_is_not_read() -> None:
    text = TRACKS_CLOSED + "rules: [{id: closed, paths: [/backstage/**], action: deny}]\n"
    assert judged(text, "Mozilla/5.0 Firefox/143.0", "/backstage/a").rule == "closed"
    assert judged(text, "Mozilla/5.0 Firefox/143.0", "/shop/" + "a" * 9_000).rule == "unclaimed"


@pytest.mark.parametrize(
    ("text", "throttles"),
    [
        ("mode: enforce", False),
        ("usages: {seo: throttle}", True),
        ("paths: {/a/**: {usages: {seo: throttle}}}", True),
        ("rules: [{agents: GPTBot, action: throttle}]", True),
    ],
)
def test_a_policy_knows_whether_requests_are_counted(text: str, throttles: bool) -> None:
    assert policy_of(text).throttles is throttles


def test_of_several_readings_of_a_path_the_strictest_action_counts_for_each_usage() -> None:
    table = DecisionTable(policy_of(TRACKS_CLOSED), load_catalog())
    plain, odd = table.target_classes[(b"/press/1",)], table.target_classes[(b"/press/..%2ftracks/1",)]
    assert strictest_section(plain) == plain.path_policy
    assert strictest_section(table.path_class("/press/1")) is table.path_class("/press/1").path_policy
    assert not plain.path_policy.reserves(Usage.TRAIN_AI)
    assert strictest_section(odd).reserves(Usage.TRAIN_AI)
    assert strictest_usages([plain.path_policy]) == plain.path_policy.usages


def test_wishes_are_followed_where_works_and_a_source_are_named_or_the_source_is_lost() -> None:
    works = Works(("/audio/{work}.mp3",))
    named = replace(policy_of(""), works=works, creators=Creators(source="catalogue.csv"))
    lost = replace(named, creators=Creators(index=WishIndex(known=False)))
    assert (named.follows_wishes, lost.follows_wishes, lost.creators.are_lost) == (True, True, True)
    assert not replace(named, works=Works()).follows_wishes
    assert not replace(named, creators=Creators()).follows_wishes
