"""Servers that know networks and header fields refuse by them as the guard does."""

import pytest

from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import Feature
from tests.targets.conformance import BROWSER, GPTBOT, fetch, policy
from tests.targets.web_servers import SERVERS, started, target

ABLE = [key for key in SERVERS if Feature.ORIGINS in target(key).supports]

OWN = b"""
agents:
  - {name: Here, usages: [scraper], networks: [127.0.0.0/8]}
"""
HEADERS = b"""
agents:
  - {name: Elsewhere, usages: [scraper], networks: [203.0.113.0/24, "2001:db8::/32"]}
  - {name: Proxied, usages: [scraper], headers: {X-Crawler: present, Via: [scrapoxy, "z.yte"]}}
networks: {here: [127.0.0.1], far: [198.51.100.0/24]}
rules:
  - {id: service, networks: [here], headers: {X-Service: [grab]}, action: deny, message: "Say \\"please\\"."}
  - {id: far, networks: [far], headers: {X-Far: [grab]}, action: deny}
exemptions: {paths: [/open/**]}
"""


@pytest.mark.parametrize("key", ABLE)
def test_a_network_is_refused_whoever_comes_from_it_but_for_what_is_open_to_everyone(
    key: str, origin_port: int
) -> None:
    for server in started(key, policy(OWN), origin_port):
        for user_agent in (BROWSER, GPTBOT, b""):
            response = fetch(server.port, "/index.html", user_agent)
            assert response.status == 403
            if user_agent == BROWSER and server.supports(Feature.BODIES):
                assert response.body.startswith(b"Here is not allowed to fetch this to feed AI tools (rule scraper).")
            assert "no-store" in dict(response.headers).get("cache-control", "")
            assert fetch(server.port, "/robots.txt", user_agent).status == 200 or not server.supports(Feature.DOCUMENTS)
        assert fetch(server.port, "/.well-known/acme-challenge/x", BROWSER).status != 403


@pytest.mark.parametrize("key", ABLE)
def test_header_fields_are_refused_by_presence_and_by_word(key: str, origin_port: int) -> None:
    for server in started(key, policy(HEADERS), origin_port):
        for headers, status in (
            ([], 200),
            ([b"X-Crawler: 1"], 200),
            ([b"Via: 1.1 scrapoxy"], 200),
            ([b"X-Crawler: 1", b"Via: 1.1 Scrapoxy (x)"], 403),
            ([b"X-Crawler: 1", b"Via: z.yte"], 403),
            ([b"X-Crawler: 1", b"Via: zxyte"], 200),
            ([b"X-Crawler: 1", b"Via: scrapoxys"], 200),
            ([b"X-Service: a grab b"], 403),
            ([b"X-Service: grabs"], 200),
            ([b"X-Far: grab"], 200),
        ):
            response = fetch(server.port, "/index.html", BROWSER, headers=headers)
            assert response.status == status, headers
            if headers == [b"X-Service: a grab b"] and server.supports(Feature.BODIES):
                assert b'(rule service). Say "please".' in response.body
        crawler = [b"X-Crawler: 1", b"Via: scrapoxy"]
        assert fetch(server.port, "/open/x", BROWSER, headers=crawler).status != 403
        assert fetch(server.port, "/index.html", GPTBOT).status == 403


@pytest.mark.parametrize("key", ABLE)
def test_an_exempt_address_is_let_in(key: str, origin_port: int) -> None:
    for server in started(key, policy(OWN + b"exemptions: {addresses: [127.0.0.1]}\n"), origin_port):
        assert fetch(server.port, "/index.html", BROWSER).status == 200


def test_what_a_server_cannot_do_by_network_and_header_field_is_said() -> None:
    from noai_guard.compiled import CompiledPolicy
    from noai_guard.config import load_catalog

    text = HEADERS + b"usages: {nameless: no}\n"
    text = text.replace(
        b"rules:", b"rules:\n  - {id: slow, networks: [far], identities: [unclaimed], action: throttle}"
    )
    plan = TargetPlan(CompiledPolicy(policy(text), load_catalog()))
    for key in SERVERS:
        sentences = [each for each in target(key).limitations(plan) if "depends on networks" in each]
        missing = (
            "the rule slow" if key in ABLE else "the rule slow, the rule service, the rule far, the agent Elsewhere"
        )
        assert len(sentences) == 1
        assert missing in sentences[0]
        assert ("the agent Proxied" in sentences[0]) is (key not in ABLE)
        assert any("clients without a name" in each for each in target(key).limitations(plan)) is (
            Feature.NAMELESS not in target(key).supports
        )
