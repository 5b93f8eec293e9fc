"""The app on the listener for metrics: metrics and health, and nothing of the site."""

import asyncio

import pytest

from tests.servers import require

require("aiohttp", "h11", "httptools", "uvicorn", "websockets")

from noai_guard.server.apps import metrics_listener_app  # noqa: E402
from noai_guard.server.health import Health  # noqa: E402
from tests.middleware.asgi_kit import asked, http  # noqa: E402


async def ready() -> None:
    return None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/metrics", 200),
        ("/metrics/", 200),
        ("/.noai/health", 200),
        ("/.noai/ready", 200),
        ("/", 404),
        ("/metrics/x", 404),
        ("/robots.txt", 404),
    ],
)
def test_the_metrics_listener_serves_metrics_and_health_alone(path: str, status: int) -> None:
    exchange = asyncio.run(asked(metrics_listener_app(Health(ready)), http(path)))
    assert exchange.status == status
    assert (b"# HELP noai_requests_total" in exchange.body) == path.rstrip("/").endswith("/metrics")
