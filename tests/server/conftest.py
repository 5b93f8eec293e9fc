"""An origin, and `noai-guard serve` in front of it, for each module."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.reverse_proxy.proxy_kit import Origin, ServeCommand

# Imported only in the fixtures: without aiohttp and uvicorn, the modules are skipped.


@pytest.fixture(scope="module")
def origin() -> "Iterator[Origin]":
    from tests.reverse_proxy.proxy_kit import Origin

    running = Origin()
    running.route("/metrics", lambda request: request.respond(b"the origin's"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def command(origin: "Origin", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[ServeCommand]":
    """Two workers, metrics on a listener of their own, and a policy file that tests may change."""
    from tests.reverse_proxy.proxy_kit import start_serve

    folder = tmp_path_factory.mktemp("serve")
    policy = folder / "noai.yaml"
    policy.write_text("mode: enforce\n")
    upstream = f"http://127.0.0.1:{origin.port}"
    running = start_serve(
        folder, "--listen", "127.0.0.1:0", "--upstream", upstream, "--policy", str(policy),
        "--workers", "2", "--metrics", "127.0.0.1:0",
    )  # fmt: skip
    yield running
    if running.process.poll() is None:
        running.stop()
