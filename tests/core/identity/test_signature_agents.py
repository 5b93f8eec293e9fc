"""Who a Signature-Agent names, in all forms in which clients write it."""

import pytest

from noai_guard.core.identity.signature_agents import MAX_HOSTS, SignatureAgents, named_hosts
from noai_guard.core.model import Agent, Usage

EXACT = Agent("Exact", "Example", (Usage.AI_AGENT,), verify={"web_bot_auth": ("https://agent.example/keys",)})
FAMILY = Agent("Family", "Example", (Usage.AI_AGENT,), signature_agents=(".agents.example", "keys.*.example.net"))
AGENTS = SignatureAgents([EXACT, FAMILY])


@pytest.mark.parametrize(
    ("value", "agents"),
    [
        (b'"https://agent.example"', [EXACT]),
        (b'sig1="https://AGENT.example:443/x";type=jwks_uri', [EXACT]),
        (b"https://agent.example.", [EXACT]),
        (b"agent.example", [EXACT]),
        (b' "agent.example." ', [EXACT]),
        (b'a="https://agent.example", b="https://eu.agents.example"', [EXACT, FAMILY]),
        (b'"https://somebody@keys.eu.example.net"', [FAMILY]),
        (b'"https://agents.example"', []),
        (b'"https://keys.eu.x.example.net"', []),
        (b"agent", []),
        (b"the agent.example", []),
        (b"", []),
    ],
)
def test_an_agent_is_named_by_the_host_that_it_signs_with(value: bytes, agents: list[Agent]) -> None:
    assert list(AGENTS.named(value)) == agents


def test_of_very_many_hosts_the_first_are_read() -> None:
    hosts = [f"h{number}.example" for number in range(MAX_HOSTS + 1)]
    assert named_hosts(", ".join(f"https://{host}" for host in hosts).encode()) == tuple(hosts[:MAX_HOSTS])
