"""Who is let in where creators have a say: the stricter of site and creator, unless the creator decides."""

from dataclasses import replace
from typing import Any

import pytest

from noai_guard.config import check_policy_text
from noai_guard.core.catalog import Catalog
from noai_guard.core.guard import Guard
from noai_guard.core.model import Action, Agent, Identity, Usage
from noai_guard.core.policy import WISH, Creators, Exemptions, Rule
from noai_guard.core.questions import run
from noai_guard.core.request import PlainRequest
from noai_guard.core.stricter import StricterGuard
from noai_guard.core.wish_index import UNKNOWN, WishIndex, number_of
from noai_guard.core.wishes import Choice, WorkWishes
from noai_guard.core.works import Works
from noai_guard.stores.memory import MemoryStore

ALLOW, DISALLOW = Choice.ALLOW, Choice.DISALLOW
TRAIN, SEARCH = Usage.TRAIN_AI, Usage.AI_SEARCH
AGENTS = (
    Agent("Trainer", "One", (TRAIN,), ("Trainer",)),
    Agent("Both", "One", (SEARCH, TRAIN), ("Both",)),
    Agent("Searcher", "Two", (SEARCH,), ("Searcher",)),
    Agent("Finder", "Two", (Usage.SEARCH,), ("Finder",)),
    Agent("Watcher", "Three", (TRAIN,), ("Watcher",)),
)
CATALOG = Catalog(AGENTS)
WISHES = {
    "no": {TRAIN: DISALLOW},
    "yes": {TRAIN: ALLOW, SEARCH: ALLOW},
    "half": {TRAIN: ALLOW},
    "Song": {TRAIN: DISALLOW},
}
OPEN = "extends: no-training\nusages: {train-ai: yes, data-broker: yes, scraper: yes}\n"
CLOSED = "extends: no-ai\n"
WORKS = "works: ['/audio/{work}.mp3', '/hls/{work}/**']\n"


def guard(
    text: str, *, decide: bool = False, index: WishIndex | None = None, asked: bool = False, **changes: Any
) -> Guard:
    policy, problems = check_policy_text((text + WORKS).encode())
    assert policy is not None, problems
    if index is None:
        index = WishIndex(WorkWishes(name, choices) for name, choices in WISHES.items())
    creators = Creators(decide=decide, index=None if asked else index, asked=asked)
    return Guard(replace(policy, creators=creators, **changes), CATALOG)


def judged(of: Guard, path: str, agent: str) -> tuple[str, str]:
    verdict = of.judged(path, agent.encode())
    return str(verdict.action), verdict.rule


@pytest.mark.parametrize(
    ("site", "decide", "path", "agent", "expected"),
    [
        (OPEN, False, "/audio/no.mp3", "Trainer", ("deny", WISH)),
        (OPEN, False, "/hls/no/1.ts", "Trainer", ("deny", WISH)),
        (OPEN, False, "/hls/no/1.ts", "Both", ("deny", WISH)),
        (OPEN, False, "/audio/no.mp3", "Searcher", ("allow", "ai-search")),
        (OPEN, False, "/audio/no.mp3", "Finder", ("allow", "search")),
        (OPEN, False, "/audio/no.mp3", "Mozilla/5.0 (X11)", ("allow", "unclaimed")),
        (OPEN, False, "/audio/other.mp3", "Trainer", ("allow", "train-ai")),
        (OPEN, False, "/press/no", "Trainer", ("allow", "train-ai")),
        (OPEN, True, "/audio/no.mp3", "Trainer", ("deny", WISH)),
        (CLOSED, False, "/audio/yes.mp3", "Trainer", ("deny", "train-ai")),
        (CLOSED, True, "/audio/yes.mp3", "Trainer", ("allow", WISH)),
        (CLOSED, True, "/audio/yes.mp3", "Both", ("allow", WISH)),
        (CLOSED, True, "/audio/half.mp3", "Both", ("deny", "ai-search")),
        (CLOSED, True, "/audio/other.mp3", "Trainer", ("deny", "train-ai")),
        # Another letter case, and other readings of a path.
        (OPEN, False, "/AUDIO/NO.MP3", "Trainer", ("deny", WISH)),
        (OPEN, False, "/audio/song.mp3", "Trainer", ("deny", WISH)),
        (OPEN, False, "/audio/x/../no.mp3", "Trainer", ("deny", WISH)),
        (OPEN, False, "/press/..;/audio/no.mp3", "Trainer", ("deny", WISH)),
        (CLOSED, True, "/audio/yes.mp3/../no.mp3", "Trainer", ("deny", WISH)),
    ],
)
def test_site_and_creator_decide_together(
    site: str, decide: bool, path: str, agent: str, expected: tuple[str, str]
) -> None:
    assert judged(guard(site, decide=decide), path, agent) == expected


RULES = (
    Rule("welcome", Action.ALLOW, agents=frozenset({"trainer", "both"})),
    Rule("sold", Action.LICENSE_REQUIRED, agents=frozenset({"watcher"})),
    Rule("never", Action.DENY, agents=frozenset({"searcher"}), message="Go away"),
)


@pytest.mark.parametrize(
    ("path", "agent", "expected"),
    [
        ("/audio/no.mp3", "Trainer", ("deny", WISH)),
        ("/audio/no.mp3", "Watcher", ("deny", WISH)),
        ("/audio/other.mp3", "Trainer", ("allow", "welcome")),
        ("/audio/yes.mp3", "Searcher", ("deny", "never")),
        ("/audio/yes.mp3", "Watcher", ("license_required", "sold")),
    ],
)
def test_no_rule_of_the_site_lets_in_what_a_creator_refuses_and_no_creator_overrules_a_rule_that_refuses(
    path: str, agent: str, expected: tuple[str, str]
) -> None:
    assert judged(guard(OPEN, decide=True, rules=RULES), path, agent) == expected


def test_a_path_that_may_be_in_several_sections_is_judged_in_all_of_them_for_the_work() -> None:
    sections = guard(OPEN + "paths: {/press/**: {usages: {search: no}}}\n")
    table = sections.table
    several = table.path_classes["/press/..;/audio/no.mp3"]
    assert len(several.readings) > 1
    assert table.verdict(AGENTS[0], several).rule == WISH
    assert table.verdict(AGENTS[3], several).action is Action.DENY
    assert table.verdict(None, several).action is Action.ALLOW
    assert judged(sections, "/press/..;/audio/other.mp3", "Trainer") == ("allow", "train-ai@/press/**")


def test_exemptions_stay() -> None:
    exempt = guard(OPEN, exemptions=Exemptions(("/audio/no.mp3",), frozenset({"watcher"})))
    assert judged(exempt, "/audio/no.mp3", "Trainer") == ("allow", "exempt-path")
    assert judged(exempt, "/hls/no/1.ts", "Watcher") == ("allow", "exempt-agent")


def test_an_impostor_is_refused_whatever_a_creator_allows() -> None:
    table = guard(CLOSED, decide=True).table
    verdict = table.decide(AGENTS[0], Identity.SPOOFED, table.path_classes["/audio/yes.mp3"])
    assert (verdict.action, verdict.rule) == (Action.DENY, "spoofed")


def test_the_reasons_name_the_creator() -> None:
    verdict = guard(OPEN).judged("/audio/no.mp3", b"Trainer")
    assert verdict.reasons[-1] == "the creator of the work disallows train-ai"
    verdict = guard(CLOSED, decide=True).judged("/audio/yes.mp3", b"Trainer")
    assert verdict.reasons[-1] == "the creator of the work allows train-ai, and the policy lets creators decide"


@pytest.mark.parametrize(("on_unknown", "action"), [("deny", "deny"), ("allow", "allow")])
def test_where_the_source_cannot_be_read_the_stricter_of_site_and_on_unknown_counts(
    on_unknown: str, action: str
) -> None:
    unread = guard(OPEN + f"on_unknown: {on_unknown}\n", index=WishIndex(known=False))
    verdict = unread.judged("/audio/other.mp3", b"Trainer")
    assert verdict.action == action
    assert judged(unread, "/audio/other.mp3", "Finder") == ("allow", "search")
    if on_unknown == "deny":
        assert verdict.rule == WISH
        assert verdict.reasons[-1] == "nobody could say what the creator wishes; on_unknown says deny"


def test_a_function_is_asked_about_the_works_of_every_reading() -> None:
    asked = guard(OPEN, asked=True)
    table = asked.table
    assert table.works_of(["/audio/no.mp3"]) == ("no",)
    assert set(table.works_of(["/hls/yes/..;/no/1.ts"])) == {"yes", "no"}
    assert table.works_of(["/press"]) == ()
    assert guard(OPEN).table.works_of(["/audio/no.mp3"]) == ("no",)
    path_class = table.path_classes["/audio/no.mp3"]
    assert table.verdict(AGENTS[0], path_class).action is Action.ALLOW
    assert table.verdict(AGENTS[0], table.wished(path_class, UNKNOWN)).action is Action.ALLOW


def test_without_works_or_wishes_nobody_has_a_say() -> None:
    policy, _ = check_policy_text(OPEN.encode())
    assert policy is not None
    index = WishIndex([WorkWishes("no", {TRAIN: DISALLOW})])
    for unsaid in (policy, replace(policy, creators=Creators(index=index))):
        table = Guard(unsaid, CATALOG).table
        assert table.works_of(["/audio/no.mp3"]) == ()
        assert table.verdict(AGENTS[0], table.path_classes["/audio/no.mp3"]).action is Action.ALLOW


@pytest.mark.parametrize("asked", [False, True])
def test_where_a_path_cannot_be_read_who_is_refused_on_some_work_is_refused(asked: bool) -> None:
    table = guard(OPEN, asked=asked).table
    assert table.verdict(AGENTS[0], table.unread()).rule == "unreadable"
    assert table.verdict(AGENTS[2], table.unread()).action is (Action.DENY if asked else Action.ALLOW)


@pytest.mark.parametrize(
    "target",
    [b"/audio/no.mp3%00", b"/audio/" + b"./" * 4500 + b"no.mp3", b"/hls/b%5c..%5cno/" + b"x" * 1100],
    ids=["cut at NUL", "too long", "too odd"],
)
@pytest.mark.parametrize("asked", [False, True])
def test_a_path_that_is_not_read_to_its_end_may_be_that_of_any_work(target: bytes, asked: bool) -> None:
    table = guard(OPEN, asked=asked).table
    path_class = table.target_classes[(target,)]
    assert table.verdict(AGENTS[0], path_class).action is Action.DENY
    assert table.verdict(None, path_class).action is Action.ALLOW


PARTNERS = """
networks: {office: [192.0.2.0/24]}
partners: [{name: lab, proof: {networks: [192.0.2.0/24]}, usages: [train-ai]}]
"""


@pytest.mark.parametrize(("path", "action"), [("/audio/other.mp3", "log"), ("/audio/no.mp3", "deny")])
def test_a_grant_of_the_site_does_not_cover_what_a_creator_refuses(path: str, action: str) -> None:
    judge = guard(CLOSED + PARTNERS)
    request = PlainRequest(path, [(b"user-agent", b"Trainer")])
    verdict = run(judge.examine(request, "192.0.2.7"), MemoryStore(), lambda question, error: None)
    assert verdict.action == action
    if action == "deny":
        assert verdict.reasons[-1] == "lab has a grant of the site, and the creator of the work says no"


def test_a_rule_by_network_is_met_on_a_work_too() -> None:
    text = OPEN + "networks: {far: [198.51.100.0/24]}\nrules: [{id: far, networks: [far], action: deny}]\n"
    request = PlainRequest("/audio/no.mp3", [(b"user-agent", b"Mozilla/5.0 (X11)")])
    for address, rule in (("198.51.100.1", "far"), ("203.0.113.1", "unclaimed")):
        examination = guard(text).examine(request, address)
        assert run(examination, MemoryStore(), lambda question, error: None).rule == rule


def test_while_a_looser_promise_waits_creators_decide_only_where_both_policies_let_them() -> None:
    decides, waits = guard(CLOSED, decide=True).policy, guard(CLOSED).policy
    both = StricterGuard((decides, waits), CATALOG)
    assert not both.policy.creators.decide
    assert judged(both, "/audio/yes.mp3", "Trainer") == ("deny", "train-ai")
    allowed = StricterGuard((decides, decides), CATALOG)
    assert judged(allowed, "/audio/yes.mp3", "Trainer") == ("allow", WISH)
    opened = StricterGuard((guard(OPEN).policy, guard(OPEN).policy), CATALOG)
    assert judged(opened, "/audio/no.mp3", "Trainer") == ("deny", WISH)


def test_a_function_is_asked_for_several_policies_at_once() -> None:
    both = StricterGuard((guard(OPEN, asked=True).policy, guard(CLOSED, asked=True).policy), CATALOG)
    table = both.table
    assert table.works_of(["/audio/no.mp3"]) == ("no",)
    wished = table.wished(table.path_classes["/audio/no.mp3"], number_of({SEARCH: DISALLOW}))
    assert table.verdict(AGENTS[2], wished).action is Action.DENY
    assert table.verdict(None, wished).action is Action.ALLOW


def test_of_the_names_that_a_path_has_by_several_patterns_the_strictest_wish_counts_and_unknown_names_do_not() -> None:
    overlapping = Works(["/audio/{work}.mp3", "/audio/{work}_128.mp3"])
    wishes = {
        "refused_128": {TRAIN: DISALLOW}, "allowed": {TRAIN: ALLOW}, "kept": {TRAIN: DISALLOW}, "kept_128": {TRAIN: ALLOW},
    }  # fmt: skip
    index = WishIndex(WorkWishes(name, choices) for name, choices in wishes.items())
    of = guard(CLOSED, decide=True, index=index, works=overlapping)
    answers = {name: judged(of, f"/audio/{name}.mp3", "Trainer") for name in (*wishes, "refused", "allowed_128")}
    assert answers == {
        "refused_128": ("deny", WISH), "allowed": ("allow", WISH), "kept": ("deny", WISH), "kept_128": ("deny", WISH),
        "refused": ("deny", "train-ai"), "allowed_128": ("allow", WISH),
    }  # fmt: skip
    # What servers read as another work does not become allowed by the one that is.
    assert judged(of, "/audio/allowed.mp3/..;/other.mp3", "Trainer") == ("deny", "train-ai")
