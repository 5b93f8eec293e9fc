"""What `noai-guard serve` can serve: a site behind the reverse proxy, or the gateway."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from noai_guard.asgi_types import App
from noai_guard.core.client_address import TrustedProxies
from noai_guard.core.policy import Policy
from noai_guard.gateway import contract
from noai_guard.gateway.app import Gateway
from noai_guard.gateway.uvicorn_protocol import protocol_for
from noai_guard.middleware.asgi import NoAIMiddleware
from noai_guard.middleware.request import RawRequest
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.reverse_proxy.app import ReverseProxy
from noai_guard.reverse_proxy.request_validation import RequestValidation
from noai_guard.reverse_proxy.upstream import Timeouts, Upstream
from noai_guard.reverse_proxy.uvicorn_protocol import EdgeConnection
from noai_guard.server.health import Health


@dataclass(frozen=True, slots=True)
class ServerApp:
    """An ASGI `app`, its `guard`, its `health`, and the uvicorn protocol that it is served with."""

    app: App
    guard: GuardRuntime
    health: Health
    http: type[asyncio.Protocol] | str


def proxied_site(
    upstream: Upstream,
    policy: str | Path | Policy | None,
    timeouts: Timeouts,
    registry: CollectorRegistry | None = None,
) -> ServerApp:
    """The site at `upstream`, guarded by `policy` and counted in `registry`. Raises PolicyInvalid."""

    def trusted() -> TrustedProxies:
        return guard.compiled.policy.trusted_proxies

    proxy = ReverseProxy(upstream, timeouts, trusted)
    guard = NoAIMiddleware(proxy, policy, registry=registry)
    health = Health(proxy.problem)
    return ServerApp(health.before(RequestValidation(guard)), guard, health, EdgeConnection)


def gateway_site(policy: str | Path | Policy | None, hold: int, own_robots: str | Path | None) -> ServerApp:
    """The forward-auth gateway. Raises PolicyInvalid. Only proxies that the policy trusts get an answer of it, so
    uvicorn's faster parser serves it, and shortly."""
    gateway = Gateway(policy, hold=hold, own_robots=own_robots)

    async def problem() -> str | None:
        answer = await gateway.respond(RawRequest("GET", contract.READY, [], None))
        return None if answer.status == 200 else answer.body.decode().strip()

    health = Health(problem)
    return ServerApp(health.before(gateway), gateway, health, protocol_for(gateway))
