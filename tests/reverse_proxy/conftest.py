"""An origin and proxies in front of it, for each module."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.reverse_proxy.proxy_kit import Origin, Proxy

# Imported only in the fixtures: without aiohttp and uvicorn, the modules are skipped.

POLICY = """
usages: {train-ai: no}
paths:
  /press/**: {usages: {train-ai: yes}}
  /news: {usages: {train-ai: yes}}
trusted_proxies: {peers: [127.0.0.2, "unix:"], header: x-forwarded-for}
"""


@pytest.fixture(scope="module")
def origin() -> "Iterator[Origin]":
    from tests.reverse_proxy.proxy_kit import Origin

    running = Origin()
    yield running
    running.close()


@pytest.fixture(scope="module")
def proxy(origin: "Origin") -> "Iterator[Proxy]":
    from tests.reverse_proxy.proxy_kit import running_proxy

    with running_proxy(f"http://127.0.0.1:{origin.port}") as running:
        yield running


@pytest.fixture(scope="module")
def impatient_proxy(origin: "Origin") -> "Iterator[Proxy]":
    """A proxy with time limits of less than a second."""
    from noai_guard.reverse_proxy.upstream import Timeouts
    from tests.reverse_proxy.proxy_kit import running_proxy

    with running_proxy(f"http://127.0.0.1:{origin.port}", timeouts=Timeouts(1.0, 0.4, 0.4)) as running:
        yield running


@pytest.fixture(scope="module")
def policy_proxy(origin: "Origin", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Proxy]":
    """A proxy with a policy of its own that opens some paths, and a second of patience within a message."""
    from noai_guard.reverse_proxy.upstream import Timeouts
    from tests.reverse_proxy.proxy_kit import running_proxy

    policy = tmp_path_factory.mktemp("policy") / "noai.yaml"
    policy.write_text(POLICY)
    with running_proxy(f"http://127.0.0.1:{origin.port}", policy, Timeouts(first_byte=5, idle=1)) as running:
        yield running


@pytest.fixture(scope="module")
def separate_pair() -> "Iterator[tuple[Origin, Proxy]]":
    """An origin and a proxy for requests that end within their body: parts of those reach the origin at any time."""
    from tests.reverse_proxy.proxy_kit import Origin, running_proxy

    running = Origin()
    with running_proxy(f"http://127.0.0.1:{running.port}") as proxy:
        yield running, proxy
    running.close()
