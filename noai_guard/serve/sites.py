"""What `noai-guard serve` can serve: a site behind the reverse proxy, or the gateway."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from noai_guard.client_address import TrustedProxies
from noai_guard.forward_auth import contract
from noai_guard.policy import Policy
from noai_guard.serve.asgi import NoAIMiddleware
from noai_guard.serve.asgi_types import App
from noai_guard.serve.edge_connection import EdgeConnection
from noai_guard.serve.gateway import Gateway
from noai_guard.serve.gateway_connection import connection_to
from noai_guard.serve.health import Health
from noai_guard.serve.live import LiveGuard
from noai_guard.serve.raw_request import RawRequest
from noai_guard.serve.reverse_proxy import ReverseProxy
from noai_guard.serve.site_entrance import SiteEntrance
from noai_guard.serve.upstream import Timeouts, Upstream


@dataclass(frozen=True, slots=True)
class Site:
    """An ASGI `app`, its `guard`, its `health`, and the uvicorn protocol that it is served with."""

    app: App
    guard: LiveGuard
    health: Health
    http: type[asyncio.Protocol] | str


def proxied_site(
    upstream: Upstream,
    policy: str | Path | Policy | None,
    timeouts: Timeouts,
    registry: CollectorRegistry | None = None,
) -> Site:
    """The site at `upstream`, guarded by `policy` and counted in `registry`. Raises PolicyInvalid."""

    def trusted() -> TrustedProxies:
        return guard.front.policy.trusted_proxies

    proxy = ReverseProxy(upstream, timeouts, trusted)
    guard = NoAIMiddleware(proxy, policy, registry=registry)
    health = Health(proxy.problem)
    return Site(health.before(SiteEntrance(guard)), guard, health, EdgeConnection)


def gateway_site(policy: str | Path | Policy | None, hold: int, own_robots: str | Path | None) -> Site:
    """The forward-auth gateway. Raises PolicyInvalid. Only proxies that the policy trusts get an answer of it, so
    uvicorn's faster parser serves it, and shortly."""
    gateway = Gateway(policy, hold=hold, own_robots=own_robots)

    async def problem() -> str | None:
        answer = await gateway.respond(RawRequest("GET", contract.READY, [], None))
        return None if answer.status == 200 else answer.body.decode().strip()

    health = Health(problem)
    return Site(health.before(gateway), gateway, health, connection_to(gateway))
