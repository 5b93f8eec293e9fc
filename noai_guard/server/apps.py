"""The apps that `noai-guard serve` can serve: a site behind the reverse proxy, the gateway, and metrics."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Route

from noai_guard.asgi_types import App
from noai_guard.core.policy import Policy
from noai_guard.core.request import PlainRequest
from noai_guard.gateway import contract
from noai_guard.gateway.app import Gateway
from noai_guard.gateway.uvicorn_protocol import protocol_for
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.observability.metrics_app import metrics_app
from noai_guard.reverse_proxy.app import ReverseProxy
from noai_guard.reverse_proxy.guard import ProxyGuard
from noai_guard.reverse_proxy.request_validation import RequestValidation
from noai_guard.reverse_proxy.upstream import Timeouts, Upstream
from noai_guard.reverse_proxy.uvicorn_protocol import EdgeConnection
from noai_guard.server.health import Health


@dataclass(frozen=True, slots=True)
class ServerApp:
    """An ASGI `app` with its guard (`runtime`) and its health, and the uvicorn protocol that serves it."""

    app: App
    runtime: GuardRuntime
    health: Health
    protocol: type[asyncio.Protocol]


def reverse_proxy_app(
    upstream: Upstream,
    policy: str | Path | Policy | None,
    timeouts: Timeouts,
    registry: CollectorRegistry | None = None,
) -> ServerApp:
    """Return the app for the site at `upstream`, guarded by `policy`. Raise PolicyInvalid."""
    proxy = ReverseProxy(upstream, timeouts, trusted=lambda: guard.runtime.compiled.policy.trusted_proxies)
    guard = ProxyGuard(proxy, policy, registry=registry)
    if guard.runtime.start_error is not None:
        raise guard.runtime.start_error
    health = Health(proxy.problem)
    return ServerApp(health.in_front_of(RequestValidation(guard)), guard.runtime, health, EdgeConnection)


def gateway_app(policy: str | Path | Policy | None, hold: int, own_robots: str | Path | None) -> ServerApp:
    """Return the app of the forward-auth gateway. Raise PolicyInvalid.

    It responds only to proxies that the policy trusts, so uvicorn's faster parser can serve it.
    """
    gateway = Gateway(policy, hold=hold, own_robots=own_robots)

    async def problem() -> str | None:
        response = await gateway.respond(PlainRequest(contract.READY))
        return None if response.status == 200 else response.body.decode().strip()

    health = Health(problem)
    return ServerApp(health.in_front_of(gateway), gateway.runtime, health, protocol_for(gateway))


def metrics_listener_app(health: Health) -> App:
    """Return the app for a listener of its own: metrics of all workers, and health."""
    return health.in_front_of(Starlette(routes=[Route(contract.METRICS, metrics_app(), methods=["GET"])]))
