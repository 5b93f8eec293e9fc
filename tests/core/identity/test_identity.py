"""Who names an agent that would be let in is checked; who would be refused is not; who cannot be checked is let in."""

from typing import Any

import pytest

from noai_guard.config import check_policy_text
from noai_guard.core.catalog import Catalog
from noai_guard.core.client_address import ClientAddress
from noai_guard.core.guard import Guard, Needs
from noai_guard.core.identity.addresses import DOUBTS, doubt
from noai_guard.core.identity.published import PublishedRanges
from noai_guard.core.identity.refusing import MIN_FAILURES, TRUSTED_SECONDS
from noai_guard.core.identity.reverse_dns import HostName
from noai_guard.core.identity.settings import SECONDS_PER_DAY
from noai_guard.core.model import Action, Agent, Identity, Usage, Verdict
from noai_guard.core.questions import Question, run
from noai_guard.core.request import PlainRequest
from noai_guard.core.trusted_proxies import TrustedProxies
from noai_guard.errors import Unanswered

NOW = 1_800_000_000.0
RANGES, NAMES = "https://seek.example/ips.json", (".seek.example",)
BOTH = Agent("SeekBot", "Seek", (Usage.SEARCH,), ("SeekBot",), verify={"ips_uri": [RANGES], "reverse_dns": NAMES})
BY_RANGE = Agent("ListBot", "List", (Usage.SEARCH,), ("ListBot",), verify={"ips_uri": [RANGES]})
BY_NAME = Agent("NameBot", "Name", (Usage.SEARCH,), ("NameBot",), verify={"reverse_dns": NAMES})
TWO_LISTS = Agent("TwoBot", "Two", (Usage.SEARCH,), ("TwoBot",), verify={"ips_uri": [RANGES, "https://x.example/"]})
PLAIN = Agent("PlainBot", "Plain", (Usage.SEARCH,), ("PlainBot",))
TRAINER = Agent("TrainBot", "Train", (Usage.TRAIN_AI,), ("TrainBot",), verify={"ips_uri": [RANGES]})
INSIDE, OUTSIDE = "198.51.100.7", "203.0.113.9"


class Dns:
    """Answers with a name, or not at all, and remembers what was asked."""

    def __init__(self, answer: str | None = None) -> None:
        self.name = answer
        self.asked: list[Question[Any]] = []

    def answer(self, question: Question[Any]) -> str:
        self.asked.append(question)
        if self.name is None:
            raise Unanswered("nobody there")
        return self.name


def guard_of(text: str = "extends: no-ai", age_days: float = 1) -> Guard:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    published = NOW - age_days * SECONDS_PER_DAY
    ranges = PublishedRanges(RANGES, "2027-01-14", published, ["198.51.100.0/24", "2001:db8:1::/64"])
    agents = [BOTH, BY_RANGE, BY_NAME, TWO_LISTS, PLAIN, TRAINER]
    return Guard(policy, Catalog(agents, ranges={RANGES: ranges}))


def judged(guard: Guard, name: str, address: str | None, dns: Dns | None = None, **given: Any) -> Verdict:
    request = PlainRequest("/", [(b"user-agent", f"{name}/1.0".encode())])
    return run(guard.examine(request, address, given.pop("at", NOW), **given), dns or Dns(), lambda *failed: None)


@pytest.mark.parametrize(
    ("name", "address", "answer", "age_days", "identity"),
    [
        ("SeekBot", INSIDE, None, 1, "verified"),
        ("SeekBot", INSIDE, "", 400, "verified"),
        ("SeekBot", "::ffff:198.51.100.7", None, 1, "verified"),
        ("SeekBot", "2001:db8:1::5", None, 1, "verified"),
        ("SeekBot", OUTSIDE, "a.seek.example", 1, "verified"),
        ("SeekBot", OUTSIDE, "", 1, "spoofed"),
        ("SeekBot", OUTSIDE, "", 400, "spoofed"),
        ("SeekBot", OUTSIDE, None, 1, "spoofed"),
        ("SeekBot", OUTSIDE, None, 14, "spoofed"),
        ("SeekBot", OUTSIDE, None, 14.01, "unverified"),
        ("SeekBot", OUTSIDE, None, -0.9, "spoofed"),
        ("SeekBot", OUTSIDE, None, -1.1, "unverified"),
        ("ListBot", OUTSIDE, None, 1, "spoofed"),
        ("ListBot", OUTSIDE, None, 15, "unverified"),
        ("NameBot", OUTSIDE, "a.seek.example", 1, "verified"),
        ("NameBot", OUTSIDE, "", 1, "spoofed"),
        ("NameBot", OUTSIDE, None, 1, "unverified"),
        ("TwoBot", INSIDE, None, 1, "verified"),
        ("TwoBot", OUTSIDE, None, 1, "unverified"),
        ("PlainBot", OUTSIDE, "", 1, "unverified"),
    ],
)
def test_a_claim_is_believed_as_far_as_it_is_proven(
    name: str, address: str, answer: str | None, age_days: float, identity: str
) -> None:
    verdict = judged(guard_of(age_days=age_days), name, address, Dns(answer))
    assert verdict.identity == identity
    spoofed = identity == "spoofed"
    assert (verdict.action, verdict.rule) == ((Action.DENY, "spoofed") if spoofed else (Action.ALLOW, "search"))


def test_the_reasons_say_each_step() -> None:
    verdict = judged(guard_of(age_days=20), "SeekBot", OUTSIDE, Dns(""))
    assert verdict.reasons == (
        "the user agent names SeekBot (Seek), known for search",
        f"the address is in no network of {RANGES} of 2027-01-14, which is older than 14 days",
        "the address has no name under .seek.example that leads back to it",
        "the policy says deny for clients that are not the agent they name",
    )


def test_a_claim_that_would_be_refused_anyway_is_not_checked_and_neither_is_one_on_an_open_path() -> None:
    guard = guard_of("exemptions: {paths: /press/**}")
    dns = Dns("")
    assert judged(guard, "TrainBot", INSIDE, dns).identity is Identity.UNVERIFIED
    everywhere, press = guard.table.path_class("/"), guard.table.path_class("/press/x")
    assert guard.needs(TRAINER, everywhere) is guard.needs(PLAIN, everywhere) is Needs.NOTHING
    assert guard.needs(BOTH, press) is Needs.NOTHING
    assert guard.needs(BOTH, everywhere) == Needs.ADDRESS | Needs.IDENTITY
    assert dns.asked == []


@pytest.mark.parametrize(
    ("rules", "address", "action", "rule"),
    [
        ("{id: r, agents: SeekBot, identities: [spoofed], action: log}", OUTSIDE, "log", "r"),
        ("{id: r, agents: SeekBot, action: allow}", OUTSIDE, "deny", "spoofed"),
        ("{id: r, agents: SeekBot, action: deny}", OUTSIDE, "deny", "r"),
        ("{id: r, agents: TrainBot, identities: [verified], action: allow}", INSIDE, "allow", "search"),
    ],
)
def test_a_rule_that_lets_in_is_for_the_agent_itself_unless_it_says_spoofed(
    rules: str, address: str, action: str, rule: str
) -> None:
    policy = f"rules: [{rules.replace('SeekBot', 'Googlebot').replace('TrainBot', 'GPTBot')}]"
    parsed, problems = check_policy_text(policy.encode())
    assert parsed is not None, problems
    guard = Guard(parsed, guard_of().catalog)
    # The packaged catalogue checks the names in the policy; here they are ours.
    renamed = {"Googlebot": BOTH, "GPTBot": TRAINER}
    agents = [
        Agent(name, old.operator, old.usages, old.expected_user_agent, verify=old.verify)
        for name, old in renamed.items()
    ]
    guard = Guard(parsed, Catalog(agents, ranges=guard.catalog.ranges))
    verdict = judged(guard, "SeekBot", address, Dns(""))
    assert (verdict.action, verdict.rule) == (action, rule)


def test_a_trainer_that_is_let_in_only_when_verified_is_checked() -> None:
    parsed, _ = check_policy_text(b"rules: [{id: r, agents: GPTBot, identities: [verified], action: allow}]")
    assert parsed is not None
    agent = Agent("GPTBot", "OpenAI", (Usage.TRAIN_AI,), ("GPTBot",), verify={"ips_uri": [RANGES]})
    guard = Guard(parsed, Catalog([agent], ranges=guard_of().catalog.ranges))
    assert judged(guard, "GPTBot", INSIDE).action is Action.ALLOW
    assert judged(guard, "GPTBot", OUTSIDE).action is Action.DENY
    assert judged(guard, "GPTBot", None, doubt="address_unknown").action is Action.DENY


def test_networks_of_the_policy_stand_in_place_of_what_is_published_and_do_not_grow_old() -> None:
    text = "identity: {networks: {Googlebot: [203.0.113.0/24]}, spoofed: log}"
    parsed, problems = check_policy_text(text.encode())
    assert parsed is not None, problems
    agent = Agent("Googlebot", "Google", (Usage.SEARCH,), ("Googlebot",), verify=BOTH.verify)
    guard = Guard(parsed, Catalog([agent], ranges=guard_of().catalog.ranges))
    dns = Dns("a.seek.example")
    later = NOW + 1000 * SECONDS_PER_DAY
    assert judged(guard, "Googlebot", OUTSIDE, dns, at=later).identity is Identity.VERIFIED
    spoofed = judged(guard, "Googlebot", INSIDE, dns, at=later)
    assert (spoofed.identity, spoofed.action) == (Identity.SPOOFED, Action.LOG)
    assert dns.asked == []


def test_an_answer_is_remembered_for_an_agent_and_an_address_block() -> None:
    guard, dns = guard_of(), Dns("")
    for address in (OUTSIDE, OUTSIDE, "2001:db8:2::1", "2001:db8:2::2", "2001:db8:2:0:ffff::3"):
        assert judged(guard, "NameBot", address, dns).identity is Identity.SPOOFED
    assert dns.asked == [HostName(OUTSIDE, NAMES), HostName("2001:db8:2::1", NAMES)]
    judged(guard, "SeekBot", OUTSIDE, dns)
    assert len(dns.asked) == 3
    judged(guard, "NameBot", OUTSIDE, dns, at=NOW + 3601)
    assert len(dns.asked) == 4


def test_who_does_not_answer_is_asked_again_soon_and_not_at_once() -> None:
    guard, dns = guard_of(), Dns()
    for _ in range(3):
        assert judged(guard, "NameBot", OUTSIDE, dns).identity is Identity.UNVERIFIED
    assert len(dns.asked) == 1
    dns.name = "a.seek.example"
    assert judged(guard, "NameBot", OUTSIDE, dns, at=NOW + 31).identity is Identity.VERIFIED


def test_who_does_not_answer_is_asked_every_time_where_that_is_wanted() -> None:
    guard, dns = guard_of(), Dns()
    guard.identity.ask_every_time()
    for _ in range(3):
        assert judged(guard, "NameBot", OUTSIDE, dns).identity is Identity.UNVERIFIED
    assert len(dns.asked) == 3


def test_where_a_claim_cannot_be_checked_on_unknown_decides() -> None:
    verdict = judged(guard_of("on_unknown: deny"), "NameBot", OUTSIDE, Dns())
    assert (verdict.action, verdict.identity) == (Action.DENY, Identity.UNVERIFIED)
    assert verdict.reasons[-1] == "the claim could not be checked; on_unknown says deny"
    assert judged(guard_of("on_unknown: deny"), "NameBot", OUTSIDE, Dns("a.seek.example")).action is Action.ALLOW


@pytest.mark.parametrize("why", DOUBTS)
def test_an_address_that_may_be_a_proxys_proves_nothing_and_spoofs_nothing(why: str) -> None:
    dns = Dns("")
    for address in (INSIDE, OUTSIDE):
        verdict = judged(guard_of(), "SeekBot", address, dns, doubt=why)
        assert (verdict.identity, verdict.action) == (Identity.UNVERIFIED, Action.ALLOW)
        assert "proves nothing" in verdict.reasons[1]
    assert dns.asked == []


PROXY = TrustedProxies.parse(["192.0.2.1"], "x-forwarded-for")[0]


@pytest.mark.parametrize(
    ("client", "headers", "trusted", "expected"),
    [
        (ClientAddress(OUTSIDE, "socket"), [], TrustedProxies(), None),
        (ClientAddress(None, "socket", "peer_without_address"), [], TrustedProxies(), "address_unknown"),
        *((ClientAddress(a, "socket"), [], TrustedProxies(), "address_not_public") for a in ("127.0.0.1", "10.1.2.3")),
        *((ClientAddress(a, "socket"), [], TrustedProxies(), "address_not_public") for a in ("::1", "fd00::1")),
        (ClientAddress("100.64.1.1", "socket"), [], PROXY, "address_not_public"),
        (ClientAddress(OUTSIDE, "socket", is_proven=False), [], PROXY, "address_not_proven"),
        *(
            (ClientAddress(OUTSIDE, "socket"), [(name, b"x")], TrustedProxies(), "proxy_not_named")
            for name in (b"x-forwarded-for", b"forwarded", b"via", b"cf-connecting-ip", b"Via", b"cdn-loop")
        ),
        (ClientAddress(OUTSIDE, "x-forwarded-for"), [(b"via", b"1.1 x")], PROXY, None),
    ],
)
def test_an_address_is_the_clients_unless_something_says_that_it_is_a_proxys(
    client: ClientAddress, headers: list[tuple[bytes, bytes]], trusted: TrustedProxies, expected: str | None
) -> None:
    assert doubt(client, headers, trusted) == expected


def test_where_all_claims_of_an_operator_fail_from_few_addresses_refusing_stops_until_one_is_proven() -> None:
    guard = guard_of()
    verdicts = [judged(guard, "SeekBot", OUTSIDE, Dns("")) for _ in range(MIN_FAILURES + 5)]
    assert [verdict.action for verdict in verdicts] == [Action.DENY] * (MIN_FAILURES - 1) + [Action.ALLOW] * 6
    assert verdicts[-1].identity is Identity.UNVERIFIED
    assert "name your proxies" in verdicts[-1].reasons[-2]
    assert guard.identity.operators.stopped == {"Seek"}
    assert judged(guard, "ListBot", OUTSIDE).action is Action.DENY  # another operator's
    assert judged(guard, "SeekBot", INSIDE).identity is Identity.VERIFIED
    assert guard.identity.operators.stopped == set()
    for _ in range(2 * MIN_FAILURES):
        assert judged(guard, "SeekBot", OUTSIDE, Dns("")).action is Action.DENY


def test_a_crowd_of_addresses_or_a_trickle_of_claims_is_refused_to_the_last() -> None:
    guard = guard_of()
    for number in range(10 * MIN_FAILURES):
        assert judged(guard, "ListBot", f"203.0.113.{number % 200}").action is Action.DENY
    slow = guard_of()
    for hour in range(2 * MIN_FAILURES):
        moment = NOW + hour * 3700
        assert judged(slow, "NameBot", OUTSIDE, Dns(""), at=moment).action is Action.DENY


def test_refusing_begins_again_when_no_claim_failed_for_a_day() -> None:
    guard = guard_of()
    for _ in range(MIN_FAILURES):
        judged(guard, "NameBot", OUTSIDE, Dns(""))
    assert guard.identity.operators.stopped == {"Name"}
    assert judged(guard, "NameBot", OUTSIDE, Dns(""), at=NOW + TRUSTED_SECONDS + 1).action is Action.DENY


def test_a_clock_that_is_ten_minutes_off_changes_nothing() -> None:
    for shift in (-600, 600):
        guard = guard_of()
        judged(guard, "SeekBot", OUTSIDE, Dns(""))
        assert judged(guard, "SeekBot", OUTSIDE, Dns(""), at=NOW + shift).identity is Identity.SPOOFED
        assert judged(guard, "SeekBot", INSIDE, at=NOW + shift).identity is Identity.VERIFIED


def test_many_addresses_that_claim_to_be_an_agent_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noai_guard.core.identity.check.MAX_REMEMBERED", 100)
    guard = guard_of()
    for number in range(2000):
        judged(guard, "SeekBot", f"203.{number // 250}.113.{number % 250}", Dns(""))
    identity = guard.identity
    assert max(len(identity._remembered), len(identity._unanswered), len(identity._by_block)) <= 100


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("extends: no-ai", {"SeekBot", "ListBot", "NameBot", "TwoBot", "TrainBot"}),
        ("exemptions: {agents: [Googlebot]}\nidentity: {spoofed: allow}", set()),
        ("identity: {spoofed: allow}\nrules: [{id: r, identities: [spoofed], action: deny}]", {"SeekBot", "ListBot"}),
    ],
)
def test_agents_are_checked_where_somebody_may_be_refused_for_it(text: str, names: set[str]) -> None:
    checked = {agent.name for agent in guard_of(text).checked_agents}
    assert names <= checked
    assert bool(names) == bool(checked)
    assert "PlainBot" not in checked
