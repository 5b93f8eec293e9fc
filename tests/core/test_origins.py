"""Rules and agents by network and header field, without a server."""

import pytest

from noai_guard.config import check_policy_text
from noai_guard.core.catalog import Catalog
from noai_guard.core.guard import Guard, Needs
from noai_guard.core.model import NAMELESS, UNKNOWN_BOT, Action, Agent, HeaderField, Usage, Verdict
from noai_guard.core.questions import run
from noai_guard.core.request import PlainRequest
from noai_guard.stores.memory import MemoryStore

TRAINER = Agent("TestBot", "Somebody", (Usage.TRAIN_AI,), ("TestBot",))
SEARCHER = Agent("SearchBot", "Somebody", (Usage.SEARCH,), ("SearchBot",))
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"

OWN = """
agents:
  - {name: Silent, usages: [scraper], networks: [198.51.100.0/24]}
  - {name: Watcher, usages: [monitoring], networks: [192.0.2.0/24]}
  - {name: Proxied, usages: [automation], headers: {X-Proxied: present}}
"""
HOSTING = "networks: {hosting: [203.0.113.0/24]}\n"
CLOSED = HOSTING + "rules: [{id: hosting, networks: [hosting], action: deny}]\n"


def guard_of(text: str) -> Guard:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    return Guard(policy, Catalog([TRAINER, SEARCHER]))


def judged(
    guard: Guard, user_agent: str, address: str | None, *headers: HeaderField, is_proven: bool = True, path: str = "/"
) -> Verdict:
    request = PlainRequest(path, [(b"user-agent", user_agent.encode()), *headers])
    return run(guard.examine(request, address, is_proven=is_proven), MemoryStore(), lambda question, error: None)


def test_a_policy_without_networks_and_header_fields_needs_neither() -> None:
    guard = guard_of("extends: no-ai")
    assert guard.origins is None
    assert guard.needs(None, guard.table.path_class("/")) is Needs.NOTHING


@pytest.mark.parametrize(
    ("text", "claim", "path", "needs"),
    [
        (OWN, None, "/", Needs.ADDRESS | Needs.HEADERS),
        (OWN, SEARCHER, "/", Needs.ADDRESS | Needs.HEADERS),
        # Nothing is stricter than to be denied.
        (OWN, TRAINER, "/", Needs.NOTHING),
        (OWN + "exemptions: {paths: [/open/**]}\n", None, "/open/a", Needs.NOTHING),
        (CLOSED, None, "/", Needs.ADDRESS),
        (CLOSED.replace("action", "identities: [unclaimed], action"), None, "/", Needs.ADDRESS),
        (CLOSED.replace("action", "identities: [unclaimed], action"), SEARCHER, "/", Needs.NOTHING),
        (CLOSED.replace("action", "agents: [GPTBot], action"), SEARCHER, "/", Needs.NOTHING),
        (CLOSED.replace("action", "paths: [/a/**], action"), None, "/b", Needs.NOTHING),
        ("rules: [{id: x, headers: {X-A: present}, action: deny}]", None, "/", Needs.HEADERS),
    ],
)
def test_an_address_and_header_fields_are_needed_only_where_they_can_change_the_verdict(
    text: str, claim: Agent | None, path: str, needs: Needs
) -> None:
    guard = guard_of(text)
    assert guard.needs(claim, guard.table.path_classes[path]) == needs


@pytest.mark.parametrize(
    ("user_agent", "address", "agent"),
    [
        (FIREFOX, "198.51.100.1", "Silent"),
        ("", "198.51.100.1", "Silent"),
        ("SearchBot/1", "198.51.100.1", "Silent"),
        ("TestBot/1", "198.51.100.1", "TestBot"),
        (FIREFOX, "192.0.2.1", "Watcher"),
        ("SearchBot/1", "192.0.2.1", "SearchBot"),
        ("NobodysBot/1", "192.0.2.1", "unknown-bot"),
        (FIREFOX, "9.9.9.9", None),
    ],
)
def test_of_several_agents_the_one_that_is_treated_most_strictly_counts(
    user_agent: str, address: str, agent: str | None
) -> None:
    verdict = judged(guard_of(OWN), user_agent, address)
    assert (verdict.agent.name if verdict.agent else None) == agent


def test_an_agent_is_recognised_by_its_header_fields() -> None:
    guard = guard_of(OWN)
    verdict = judged(guard, FIREFOX, "9.9.9.9", (b"x-proxied", b"yes"))
    assert verdict.agent is guard.catalog.agent("Proxied")
    assert verdict.reasons[0] == "the request is recognised as one of Proxied (Proxied), known for automation"


@pytest.mark.parametrize(("address", "is_proven"), [(None, True), ("198.51.100.1", False)])
def test_nobody_is_an_agent_by_an_address_that_is_not_known(address: str | None, is_proven: bool) -> None:
    assert judged(guard_of(OWN), FIREFOX, address, is_proven=is_proven).rule == "unclaimed"


@pytest.mark.parametrize(
    ("user_agent", "on_unknown", "action"),
    [
        (FIREFOX, "allow", Action.ALLOW),
        (FIREFOX, "deny", Action.ALLOW),
        ("", "deny", Action.LOG),
        ("-", "deny", Action.LOG),
        ("SearchBot/1", "allow", Action.ALLOW),
        ("SearchBot/1", "deny", Action.DENY),
        ("TestBot/1", "allow", Action.DENY),
    ],
)
def test_an_unknown_address_denies_nobody_without_a_name_and_others_by_on_unknown(
    user_agent: str, on_unknown: str, action: Action
) -> None:
    guard = guard_of(CLOSED + f"on_unknown: {on_unknown}\n")
    assert judged(guard, user_agent, "203.0.113.9", is_proven=False).action is action
    assert judged(guard, user_agent, "203.0.113.9").action is Action.DENY


RATION = "{id: ration, networks: [hosting], action: throttle}"
DENY = "{id: closed, networks: [hosting], action: deny}"


@pytest.mark.parametrize(
    ("rules", "user_agent", "rule"),
    [
        (f"[{RATION}]", "SearchBot/1", "ration"),
        (f"[{RATION}]", "TestBot/1", "train-ai"),
        (f"[{RATION}, {DENY}]", "SearchBot/1", "closed"),
        (f"[{RATION}, {{id: all, action: deny}}]", "SearchBot/1", "all"),
        (f"[{{id: header, headers: {{x-a: present}}, action: deny}}, {RATION}]", "SearchBot/1", "ration"),
    ],
)
def test_a_rule_of_which_nobody_knows_whether_it_holds_makes_nothing_milder(
    rules: str, user_agent: str, rule: str
) -> None:
    guard = guard_of(HOSTING + f"on_unknown: deny\nrules: {rules}\n")
    assert judged(guard, user_agent, "203.0.113.9", is_proven=False).rule == rule


@pytest.mark.parametrize("on_unknown", ["allow", "deny"])
def test_an_unknown_address_lets_nobody_in(on_unknown: str) -> None:
    text = HOSTING + f"on_unknown: {on_unknown}\nrules: [{{id: open, networks: [hosting], action: allow}}]\n"
    assert judged(guard_of(text), "TestBot/1", "203.0.113.9").rule == "open"
    assert judged(guard_of(text), "TestBot/1", "203.0.113.9", is_proven=False).rule == "train-ai"


def test_a_rule_by_network_holds_under_every_reading_of_a_path() -> None:
    guard = guard_of(CLOSED.replace("action", "paths: [/songs/**], action"))
    for path in ("/songs/1", "//songs/1", "/x/../songs/1", "/SONGS/1"):
        assert judged(guard, FIREFOX, "203.0.113.9", path=path).rule == "hosting"
        assert judged(guard, FIREFOX, "9.9.9.9", path=path).rule == "unclaimed"
    assert judged(guard, FIREFOX, "203.0.113.9", path="/press").rule == "unclaimed"


def test_nothing_is_refused_anywhere_only_because_of_a_rule_by_network() -> None:
    guard = guard_of(CLOSED.replace("action", "paths: [/songs/**], action"))
    assert judged(guard, "SearchBot/1", "203.0.113.9", path="/" + "a" * 9_000).action is Action.ALLOW


def test_a_rule_by_header_fields_alone_asks_no_address() -> None:
    guard = guard_of("rules: [{id: keyed, headers: {X-Key: [a]}, action: deny}]")
    assert judged(guard, FIREFOX, None, (b"x-key", b"a")).rule == "keyed"
    assert judged(guard, FIREFOX, None, (b"x-key", b"b")).rule == "unclaimed"


def test_a_rule_by_network_may_hold_for_an_agent_that_is_hidden_in_a_long_user_agent() -> None:
    guard = guard_of(CLOSED.replace("action", "agents: [GPTBot], action"))
    hidden = b"x" * 2000 + b" TestBot " + b"x" * 2000
    path_class = guard.table.path_class("/")
    assert guard.needs(guard.claims[hidden], path_class) & Needs.ADDRESS


@pytest.mark.parametrize(
    ("host", "names"), [("nobody.example", "a host that is in no catalogue"), ("sign.example", "SignBot (Somebody), ")]
)
def test_the_reason_says_whom_a_signature_agent_names(host: str, names: str) -> None:
    signer = Agent("SignBot", "Somebody", (Usage.AI_AGENT,), signature_agents=("sign.example",))
    guard = Guard(guard_of("extends: no-ai").policy, Catalog([signer]))
    verdict = judged(guard, FIREFOX, None, (b"signature-agent", f"https://{host}".encode()))
    assert verdict.reasons[0].startswith(f"the header Signature-Agent names {names}")


def test_rules_keep_their_order_whatever_they_need() -> None:
    text = HOSTING + (
        "rules:\n"
        "  - {id: first, agents: [GPTBot], action: deny}\n"
        "  - {id: second, networks: [hosting], headers: {X-Key: [a]}, action: allow}\n"
        "  - {id: third, paths: [/songs/**], usages: [train-ai, search], action: license_required}\n"
    )
    guard = guard_of(text)
    assert judged(guard, "TestBot/1", "203.0.113.9", (b"x-key", b"a"), path="/songs/1").rule == "second"
    assert judged(guard, "TestBot/1", "203.0.113.9", path="/songs/1").rule == "third"
    assert judged(guard, "TestBot/1", "9.9.9.9", (b"x-key", b"a"), path="/songs/1").rule == "third"


def test_own_agents_stand_beside_the_catalogue_and_replace_one_of_the_same_name() -> None:
    guard = guard_of("agents: [{name: TESTBOT, usages: [search], expected_user_agent: [TestBot]}]")
    assert [agent.name for agent in guard.catalog.agents] == ["SearchBot", "TESTBOT"]
    assert guard.judged("/", b"TestBot/1").rule == "search"
    assert guard.catalog.extended(guard.policy.agents) is guard.catalog


@pytest.mark.parametrize("user_agent", [b"", b" ", b"-", b"Mozilla/5.0", b"foo/1.0", b"foo", b"'x'", b"a" * 256])
def test_a_single_word_that_no_catalogue_knows_is_no_name(user_agent: bytes) -> None:
    assert guard_of("extends: no-ai").claims[user_agent] is NAMELESS


@pytest.mark.parametrize(
    ("user_agent", "claim"),
    [
        (b"foo bar/1.0", None),
        (b"My%20App/1", None),
        (b"My+App/1", None),
        (b"foo/1.0(x)", None),
        (b"foo\nbar", None),
        (b"f\xc3\xbcr/1", None),
        (b"a" * 257, None),
        (b"foobot/1.0", UNKNOWN_BOT),
        (b"TestBot", TRAINER),
    ],
)
def test_more_than_one_word_or_a_known_one_is_a_name(user_agent: bytes, claim: Agent | None) -> None:
    assert guard_of("extends: no-ai").claims[user_agent] is claim


def test_nameless_is_no_ai_usage_and_refused_nowhere_for_a_path_that_is_not_read() -> None:
    guard = guard_of("paths: {/api/**: {usages: {nameless: no}}}")
    assert not NAMELESS.ai
    assert guard.judged("/api/1", b"-").action is Action.DENY
    assert guard.judged("/" + "a" * 9_000, b"-").action is Action.LOG
