"""A proxy passes Authorization on to the gateway where a partner has a key, and nowhere else: it may be a password."""

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy
from noai_guard.socket_address import SocketAddress
from noai_guard.targets import TARGETS
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import ServerTarget

KEY = "partners: [{name: acme, proof: {api_key: " + "0" * 64 + "}, usages: train-ai}]\n"
NETWORK = "partners: [{name: acme, proof: {networks: [203.0.113.0/24]}, usages: train-ai}]\n"
REMOVING = ('Authorization ""', "header_up -Authorization", "unset bereq.http.Authorization")


def compiled(text: str) -> CompiledPolicy:
    policy, problems = check_policy_text(
        f"trusted_proxies: {{peers: [127.0.0.1], header: x-forwarded-for}}\n{text}".encode()
    )
    assert policy is not None, problems
    return CompiledPolicy(policy, load_catalog())


def configuration(proxy: Proxy, text: str) -> str:
    here = SocketAddress.parse("127.0.0.1:9797")
    files = proxy.render(GatewaySetup(compiled(text), here, here), proxy.root)
    return "\n".join(file.content.decode() for file in files)


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=lambda proxy: proxy.key)
def test_authorization_reaches_the_gateway_only_if_a_partner_has_a_key(proxy: Proxy) -> None:
    with_key, without = configuration(proxy, KEY), configuration(proxy, NETWORK)
    removed = any(words in without for words in REMOVING)
    listed = '"authorization"' in with_key or "{exact: authorization}" in with_key
    assert not any(words in with_key for words in REMOVING)
    assert removed or listed or proxy.key == "traefik"  # which passes all fields on
    assert '"authorization"' not in without
    assert "{exact: authorization}" not in without


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.key)
def test_a_server_that_carries_the_policy_out_says_that_it_checks_no_proof(target: ServerTarget) -> None:
    sentences = list(target.limitations(TargetPlan(compiled(KEY))))
    assert any("partners (acme): no proof is checked here" in sentence for sentence in sentences)
    assert not any("partners" in sentence for sentence in target.limitations(TargetPlan(compiled(""))))
