"""What the guard makes of user agents, and what it has to know before a verdict is final."""

import pytest

from noai_guard.config import check_policy_text
from noai_guard.core.catalog import Catalog
from noai_guard.core.guard import Guard, Needs, calls_itself_a_bot
from noai_guard.core.model import UNKNOWN_BOT, Action, Agent, Claim, PartlyRead, Usage
from noai_guard.core.questions import run
from noai_guard.core.request import PlainRequest
from noai_guard.stores.memory import MemoryStore

TRAINER = Agent("TestBot", "Test", (Usage.TRAIN_AI,), ("TestBot",))
# Its user agent says no word that makes a bot, but user-agents knows it.
SLURP = b"Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)"
FIREFOX = b"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"

SECOND_LOOK = "features: {second_look: yes}"
THROTTLED = "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 2, seconds: 60}}"
EXEMPT_NETWORK = "exemptions: {addresses: [203.0.113.0/24]}"


def guard_of(text: str) -> Guard:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    return Guard(policy, Catalog([TRAINER]))


@pytest.mark.parametrize(
    ("text", "user_agent", "agent"),
    [
        ("extends: no-ai", b"TestBot/1.0", TRAINER),
        ("extends: no-ai", b"NobodysBot/1.0", UNKNOWN_BOT),
        ("extends: no-ai", SLURP, None),
        ("extends: no-ai", FIREFOX, None),
        (SECOND_LOOK, b"TestBot/1.0", TRAINER),
        (SECOND_LOOK, b"NobodysBot/1.0", UNKNOWN_BOT),
        (SECOND_LOOK, SLURP, UNKNOWN_BOT),
        (SECOND_LOOK, FIREFOX, None),
    ],
)
def test_an_agent_is_recognised_by_name_then_by_its_words_then_by_a_second_look(
    text: str, user_agent: bytes, agent: Agent | None
) -> None:
    assert guard_of(text).claims[user_agent] is agent


def test_a_user_agent_that_the_second_look_cannot_read_is_no_bot() -> None:
    # The version has more digits than int() reads.
    assert guard_of(SECOND_LOOK).claims[b"Opera/" + b"9" * 5000] is None


def test_a_phone_called_cubot_is_no_bot() -> None:
    assert calls_itself_a_bot(b"SomeBot/1.0")
    assert not calls_itself_a_bot(b"Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20)")


@pytest.mark.parametrize(
    ("text", "agent", "needs"),
    [
        ("extends: no-ai", TRAINER, Needs.NOTHING),
        (EXEMPT_NETWORK, TRAINER, Needs.ADDRESS),
        (EXEMPT_NETWORK, None, Needs.ADDRESS),
        (THROTTLED, TRAINER, Needs.ADDRESS | Needs.COUNT),
        (THROTTLED, None, Needs.NOTHING),
    ],
)
def test_a_verdict_needs_an_address_or_a_count_only_where_the_policy_asks_for_one(
    text: str, agent: Agent | None, needs: Needs
) -> None:
    guard = guard_of(text)
    assert guard.needs(agent, guard.table.path_class("/")) == needs


def test_a_client_at_an_exempt_address_is_let_in_and_its_neighbour_is_not() -> None:
    guard = guard_of(EXEMPT_NETWORK)
    request = PlainRequest("/", [(b"user-agent", b"TestBot/1.0")])
    rules = {
        address: run(guard.examine(request, address), MemoryStore(), lambda question, error: None).rule
        for address in ("203.0.113.9", "203.0.114.9", None)
    }
    assert rules == {"203.0.113.9": "exempt-address", "203.0.114.9": "train-ai", None: "train-ai"}


def test_the_request_above_the_rate_is_refused_and_says_when_to_come_again() -> None:
    guard = guard_of(THROTTLED)
    request = PlainRequest("/", [(b"user-agent", b"TestBot/1.0")])
    store = MemoryStore()
    verdicts = [
        run(guard.examine(request, "203.0.113.9", received_at), store, lambda question, error: None)
        for received_at in (0, 1, 2)
    ]
    assert [verdict.action for verdict in verdicts] == [Action.ALLOW, Action.ALLOW, Action.THROTTLE]
    assert [verdict.retry_after for verdict in verdicts] == [0, 0, 60]
    assert verdicts[0] is verdicts[1]


def test_another_action_keeps_the_verdict_and_adds_its_reason() -> None:
    guard = guard_of("extends: no-ai")
    verdict = guard.judged("/", b"TestBot/1.0")
    allowed = guard.with_action(verdict, Action.ALLOW, "a person said so")
    assert (allowed.action, allowed.rule, allowed.agent) == (Action.ALLOW, verdict.rule, TRAINER)
    assert allowed.reasons == (*verdict.reasons, "a person said so")
    assert guard.with_action(verdict, Action.ALLOW, "a person said so") is allowed


LONG = b"Mozilla/5.0 (Windows NT 10.0) " + b"x " * 1000


@pytest.mark.parametrize(
    ("user_agent", "claim"),
    [
        (LONG, None),
        (LONG[:1500] + b"TestBot " + LONG[1500:], PartlyRead(None, frozenset({TRAINER, UNKNOWN_BOT}))),
        (LONG[:1500] + b"some%62ot " + LONG[1500:], PartlyRead(None, frozenset({UNKNOWN_BOT}))),
        (LONG[:1500] + b"TestBot " + LONG[1500:] + b"NobodysBot/1", PartlyRead(UNKNOWN_BOT, frozenset({TRAINER}))),
        (LONG + b"TestBot/1", TRAINER),
        (b"Some%42ot/1.0", UNKNOWN_BOT),
        (b"Some\\x42ot/1.0", UNKNOWN_BOT),
    ],
)
def test_what_is_not_read_closely_is_searched_for_names_and_words(user_agent: bytes, claim: Claim) -> None:
    assert guard_of("extends: no-ai").claims[user_agent] == claim


def test_an_address_that_is_not_proven_is_never_exempt() -> None:
    guard = guard_of(EXEMPT_NETWORK)
    request = PlainRequest("/", [(b"user-agent", b"TestBot/1.0")])
    for is_proven, action in ((True, Action.ALLOW), (False, Action.DENY)):
        examination = guard.examine(request, "203.0.113.9", is_proven=is_proven)
        assert run(examination, MemoryStore(), print).action is action
