"""Servers that know header fields refuse who signs as a refused agent, and, if asked to, who names an agent from outside
of its networks."""

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog
from noai_guard.core.catalog import Catalog
from noai_guard.core.identity.published import PublishedRanges
from noai_guard.core.networks import NetworkSet
from noai_guard.targets import origins
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import Feature
from tests.targets.conformance import BROWSER, GPTBOT, fetch, policy
from tests.targets.web_servers import SERVERS, started, target

ABLE = [key for key in SERVERS if Feature.ORIGINS in target(key).supports]
UNABLE = [key for key in SERVERS if key not in ABLE]

UNKNOWN = b"usages: {unknown-bot: no}\n"
AGENTS_WELCOME = b"usages: {unknown-bot: no, ai-agent: yes}\n"
SIGNERS = (
    (b'"https://chatgpt.com"', 403),
    (b'sig1="https://ChatGPT.com/"', 403),
    (b"https://chatgpt.com", 403),
    (b"chatgpt.com", 403),
    (b'"https://chatgpt.com.example"', 200),
    (b'"https://example.com/chatgpt.com"', 200),
    (b'"https://not-chatgpt.com"', 200),
)

BINGBOT = b"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"
GOOGLEBOT = b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
HERE = b'trusted_proxies: {peers: ["unix:"], header: x-forwarded-for}\n'


def ranges(networks: bytes) -> bytes:
    return HERE + b"identity: {edge_ranges: yes, networks: {Googlebot: [" + networks + b"]}}\n"


@pytest.mark.parametrize("key", ABLE)
def test_who_signs_as_a_refused_agent_is_refused_whatever_the_user_agent(key: str, origin_port: int) -> None:
    for server in started(key, policy(b""), origin_port):
        assert fetch(server.port, "/index.html", BROWSER).status == 200
        for value, status in SIGNERS:
            headers = [b"Signature-Agent: " + value]
            response = fetch(server.port, "/index.html", BROWSER, headers=headers)
            assert response.status == status, value
            if status == 403 and server.supports(Feature.BODIES):
                assert response.body.startswith(b"This client is not allowed to fetch this as an AI agent")
        assert fetch(server.port, "/robots.txt", BROWSER, headers=[b"Signature-Agent: chatgpt.com"]).status != 403


@pytest.mark.parametrize("key", ABLE)
def test_an_unknown_signer_is_an_unknown_bot(key: str, origin_port: int) -> None:
    for server in started(key, policy(UNKNOWN), origin_port):
        for headers, status in (
            ([], 200),
            ([b'Signature-Agent: "https://unknown.example"'], 403),
            ([b'Signature-Agent: "https://chatgpt.com"'], 403),
        ):
            assert fetch(server.port, "/index.html", BROWSER, headers=headers).status == status, headers
    for server in started(key, policy(AGENTS_WELCOME), origin_port):
        for headers, status in (
            ([b'Signature-Agent: "https://unknown.example"'], 403),
            ([b'Signature-Agent: "https://chatgpt.com"'], 200),
        ):
            assert fetch(server.port, "/index.html", BROWSER, headers=headers).status == status, headers


@pytest.mark.parametrize("key", ABLE)
def test_who_names_an_agent_from_outside_of_its_networks_is_refused_if_the_policy_says_so(
    key: str, origin_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origins, "NOT_PUBLIC", NetworkSet())  # so that the client, who is here, is outside
    for server in started(key, policy(ranges(b"203.0.113.0/24")), origin_port):
        spoofed = fetch(server.port, "/index.html", GOOGLEBOT)
        assert spoofed.status == 403
        if server.supports(Feature.BODIES):
            assert spoofed.body.startswith(b"Who only claims to be Googlebot (Google)")
        assert fetch(server.port, "/robots.txt", GOOGLEBOT).status == 200 or not server.supports(Feature.DOCUMENTS)
        assert fetch(server.port, "/.well-known/acme-challenge/x", GOOGLEBOT).status != 403
        for user_agent in (BROWSER, BINGBOT, b"NotGooglebot/1.0", BROWSER + b" googlebotany", b""):
            assert fetch(server.port, "/index.html", user_agent).status == 200, user_agent
        assert fetch(server.port, "/index.html", GPTBOT).status == 403
    for server in started(key, policy(ranges(b'127.0.0.0/8, "::1"')), origin_port):
        assert fetch(server.port, "/index.html", GOOGLEBOT).status == 200


@pytest.mark.parametrize("key", ABLE)
def test_nobody_is_refused_for_a_private_address(key: str, origin_port: int) -> None:
    for server in started(key, policy(ranges(b"203.0.113.0/24")), origin_port):
        assert fetch(server.port, "/index.html", GOOGLEBOT).status == 200


def sentences(key: str, text: bytes) -> str:
    return "\n".join(target(key).limitations(TargetPlan(CompiledPolicy(policy(text), load_catalog()))))


@pytest.mark.parametrize("key", SERVERS)
def test_ranges_are_refused_by_only_where_the_peer_is_the_client(key: str) -> None:
    alone = b"identity: {edge_ranges: yes, networks: {Googlebot: [203.0.113.0/24]}}\n"
    behind = alone + b"trusted_proxies: {peers: [198.51.100.0/24], header: x-forwarded-for}\n"
    assert "edge_ranges: trusted_proxies names nobody" in sentences(key, alone)
    assert "edge_ranges: trusted_proxies names proxies with public addresses" in sentences(key, behind)
    for text in (alone, behind):
        plan = TargetPlan(CompiledPolicy(policy(text), load_catalog()))
        assert not any(refusal.outside for refusal in origins.origin_refusals(plan))
    assert ("the networks of Googlebot" in sentences(key, ranges(b"203.0.113.0/24"))) is (key in UNABLE)
    assert ("who signs as an agent that is refused" in sentences(key, b"")) is (key in UNABLE)


def test_a_file_says_which_lists_it_has_or_that_claims_are_let_in() -> None:
    catalog = load_catalog()
    [uris] = (agent.verify["ips_uri"] for agent in catalog.agents if agent.name == "Googlebot")
    known = {uri: PublishedRanges(uri, "2026-11-28", 0, ["203.0.113.0/24"]) for uri in uris}
    text = HERE + b"identity: {edge_ranges: yes}\n"
    for lists, expected in ((known, True), (dict(list(known.items())[1:]), False)):
        plan = TargetPlan(CompiledPolicy(policy(text), Catalog(catalog.agents, ranges=lists)))
        for key in ABLE:
            files = target(key).render(plan, "/etc")
            assert any(b"2026-11-28" in file.content for file in files) is expected or key == "traefik"
    for key in ("nginx", "haproxy"):
        files = target(key).render(TargetPlan(CompiledPolicy(policy(b""), catalog)), "/etc")
        assert any(b"Claims are not checked here" in file.content for file in files)
