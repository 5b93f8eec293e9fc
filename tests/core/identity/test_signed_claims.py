"""A claim is proven by a signature of a key that the agent's operator publishes, and by no other."""

from typing import Any

import pytest

from noai_guard.core.identity.check import NOT_PUBLISHED, IdentityCheck
from noai_guard.core.identity.proof import Claimed, Finding, Identified, Proof
from noai_guard.core.identity.published import PublishedRanges
from noai_guard.core.identity.reverse_dns import HostName
from noai_guard.core.identity.settings import IdentitySettings
from noai_guard.core.identity.signed_claims import WAY, failure_of, is_own, signing_key
from noai_guard.core.identity.signing_keys import SigningKey
from noai_guard.core.identity.web_bot_auth import WELL_KNOWN, SignatureOutcome
from noai_guard.core.model import Agent, HeaderField, Identity, Usage
from noai_guard.core.questions import Question, run
from noai_guard.core.request import PlainRequest
from noai_guard.errors import Unanswered
from tests.signing import Signer

NOW = 1_700_000_000.0
SIGNER = Signer()
AGENT = Agent("Signer", "Example", (Usage.AI_AGENT,), verify={"web_bot_auth": ("https://agent.example",)})
FAMILY = Agent("Family", "Example", (Usage.AI_AGENT,), signature_agents=(".agents.example", "keys.*.example.net"))
KEYS = Agent("Keys", "Example", (Usage.AI_AGENT,), verify={"web_bot_auth": ("https://agent.example/keys.json",)})
SETTINGS = IdentitySettings(authorities=("music.example",))


def proof_of(headers: list[HeaderField], agent: Agent = AGENT, answer: Any = (SIGNER.public,)) -> Proof:
    request = PlainRequest("/", headers, target=b"/")
    examination = WAY.check(Claimed(agent, request, None, NOW, SETTINGS))
    try:
        question = examination.send(None)
        assert isinstance(question, SigningKey)
        examination.send(answer)
    except StopIteration as done:
        proof: Proof = done.value
        return proof
    raise AssertionError("more than one question")


def signed(agent: str = "https://agent.example", at: float = NOW) -> list[HeaderField]:
    return SIGNER.headers("https://music.example/", at, agent=f'sig1="{agent}"')


def test_a_signature_of_the_agents_own_key_proves_the_claim() -> None:
    proof = proof_of(signed())
    assert proof == Proof(Finding.PROVEN, f"the key {SIGNER.public.thumbprint} of Signer has signed the request")
    assert failure_of([proof.reason]) is None
    assert signing_key(["the policy says so", proof.reason]) == SIGNER.public.thumbprint
    assert signing_key(["the request is not signed"]) == ""


@pytest.mark.parametrize(
    ("headers", "answer", "finding", "outcome"),
    [
        ([], (), Finding.SILENT, None),
        (signed("https://evil.example"), (), Finding.SILENT, SignatureOutcome.DIRECTORY_UNKNOWN),
        (signed(at=NOW - 600), (), Finding.SILENT, SignatureOutcome.EXPIRED),
        (signed(), (), Finding.SILENT, SignatureOutcome.KEY_UNKNOWN),
        (signed(), (Signer().public,), Finding.SILENT, SignatureOutcome.WRONG),
        (signed(), None, Finding.UNANSWERED, SignatureOutcome.DIRECTORY_UNAVAILABLE),
    ],
)
def test_what_proves_nothing_blames_nobody_and_says_why(
    headers: list[HeaderField], answer: Any, finding: Finding, outcome: SignatureOutcome | None
) -> None:
    proof = proof_of(headers, answer=answer)
    assert proof.finding is finding
    assert failure_of(["another reason", proof.reason]) is outcome


@pytest.mark.parametrize(
    ("agent", "directory", "own"),
    [
        (AGENT, "https://agent.example" + WELL_KNOWN, True),
        (AGENT, "https://agent.example/users/evil.json", False),
        (AGENT, "https://agent.example:8443" + WELL_KNOWN, False),
        (AGENT, "https://agent.example" + WELL_KNOWN + "?a", False),
        (AGENT, "https://x.agent.example" + WELL_KNOWN, False),
        (KEYS, "https://agent.example/keys.json", True),
        (FAMILY, "https://eu.agents.example" + WELL_KNOWN, True),
        (FAMILY, "https://agents.example.evil.example" + WELL_KNOWN, False),
        (FAMILY, "https://keys.eu.example.net" + WELL_KNOWN, True),
        (FAMILY, "https://keys.eu.x.example.net" + WELL_KNOWN, False),
    ],
)
def test_a_directory_is_the_agents_own_only_where_its_operator_says_so(agent: Agent, directory: str, own: bool) -> None:
    assert is_own(agent, directory) is own


def test_only_an_agent_that_signs_is_checked_by_a_signature() -> None:
    assert WAY.applies(AGENT, SETTINGS)
    assert WAY.applies(FAMILY, SETTINGS)
    assert not WAY.applies(Agent("Plain", "Example", (Usage.AI_AGENT,)), SETTINGS)


LIST = "https://agent.example/ips.json"
BOTH = Agent("Both", "Example", (Usage.AI_AGENT,), verify={**AGENT.verify, "ips_uri": (LIST,)})
NAMED = Agent("Named", "Example", (Usage.AI_AGENT,), verify={**AGENT.verify, "reverse_dns": (".agent.example",)})
INSIDE, OUTSIDE = "198.51.100.7", "203.0.113.9"
NOT_SIGNED, IN_LIST = "the request is not signed", f"the address is in a network of {LIST} of 2023-11-14"
NOT_IN_LIST = f"the address is in no network of {LIST} of 2023-11-14"
NO_ANSWER = "reverse DNS did not answer whether the address has a name under .agent.example"
IS_SIGNED = f"the key {SIGNER.public.thumbprint} of {{}} has signed the request"


class Keys:
    """Answers with the key of the signer, and to nothing else."""

    def answer(self, question: Question[Any]) -> Any:
        if isinstance(question, HostName):
            raise Unanswered("nobody there")
        return (SIGNER.public,)


@pytest.mark.parametrize(
    ("agent", "headers", "address", "identified"),
    [
        (BOTH, signed(), OUTSIDE, Identified(Identity.VERIFIED, (IS_SIGNED.format("Both"),))),
        (BOTH, [], INSIDE, Identified(Identity.VERIFIED, (NOT_SIGNED, IN_LIST))),
        (BOTH, [], OUTSIDE, Identified(Identity.SPOOFED, (NOT_SIGNED, NOT_IN_LIST))),
        (NAMED, [], OUTSIDE, Identified(Identity.UNVERIFIED, (NOT_SIGNED, NO_ANSWER), unanswered=True)),
        (NAMED, signed(), OUTSIDE, Identified(Identity.VERIFIED, (IS_SIGNED.format("Named"),))),
        (AGENT, [], OUTSIDE, Identified(Identity.UNVERIFIED, (NOT_SIGNED,))),
        (Agent("Plain", "Example", (Usage.SEARCH,)), signed(), INSIDE, NOT_PUBLISHED),
    ],
)
def test_a_signature_goes_before_the_address_and_the_address_counts_where_nothing_is_signed(
    agent: Agent, headers: list[HeaderField], address: str, identified: Identified
) -> None:
    ranges = {LIST: PublishedRanges(LIST, "2023-11-14", NOW, ["198.51.100.0/24"])}
    settings = IdentitySettings(ranges=ranges, authorities=("music.example",))
    claimed = Claimed(agent, PlainRequest("/", headers, target=b"/"), address, NOW, settings)
    assert run(IdentityCheck(settings).identify(claimed), Keys(), lambda question, error: None) == identified
