"""The origin, the gateway and the proxies, for all tests here."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from noai_guard.socket_address import SocketAddress
from tests.gateway.proxies.running_proxies import (
    POLICY,
    STARTERS,
    VARIANTS,
    Environment,
    RunningServer,
    compiled_policy,
    require_proxy,
    start_process,
)
from tests.servers import free_port
from tests.targets.web_servers import readable_folder

FOLDER = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def proxy_of_the_test(request: pytest.FixtureRequest) -> None:
    """Skip or fail a test of a proxy that is missing before anything is started for it."""
    callspec = getattr(request.node, "callspec", None)
    require_proxy(callspec.params.get("key", "") if callspec else "")


@pytest.fixture(scope="session")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("site") / "audio.mp3"
    file.write_bytes(os.urandom(300_000))
    return file


@pytest.fixture(scope="session")
def origin(server: Callable[..., Any], audio: Path) -> int:
    started = server(
        "uvicorn-httptools", "apps:origin", FOLDER, options=("--no-proxy-headers",), env={"NOAI_AUDIO": str(audio)}
    )
    return started.port


@pytest.fixture(scope="session")
def start_gateway(server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`start_gateway(text)`: the app under uvicorn, one process that can be stopped at once."""

    def start(text: str = POLICY, port: int = 0) -> Any:
        policy = tmp_path_factory.mktemp("policy") / "noai.yaml"
        policy.write_text(text)
        options = ("--no-proxy-headers", "--factory")
        env = {"NOAI_POLICY": str(policy)}
        return server("uvicorn-httptools", "apps:gateway", FOLDER, options=options, env=env, port=port)

    return start


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """`noai-guard serve` with POLICY."""
    folder, port = tmp_path_factory.mktemp("gateway"), free_port()
    (folder / "noai.yaml").write_text(POLICY)
    command = [sys.executable, "-m", "noai_guard", "serve", "--policy", "noai.yaml", "--listen", f"127.0.0.1:{port}"]
    serving = start_process(command, port, folder)
    yield port
    serving.stop()


@pytest.fixture(scope="session")
def start_proxy(origin: int) -> Iterator[Callable[..., RunningServer]]:
    """`start_proxy(key, gateway_port)`: a proxy that asks the gateway; more of `Environment` by name."""
    with ExitStack() as stack:

        def start(key: str, gateway: int | SocketAddress, text: str = POLICY, **more: Any) -> RunningServer:
            address = gateway if isinstance(gateway, SocketAddress) else SocketAddress("127.0.0.1", gateway)
            folder = stack.enter_context(readable_folder())
            environment = Environment(folder, origin, address, compiled_policy(text), **more)
            proxy = {**STARTERS, **VARIANTS}[key](environment)
            stack.callback(proxy.stop)
            return proxy

        yield start


@pytest.fixture(scope="session")
def proxy_port(start_proxy: Callable[..., RunningServer], gateway: int) -> Callable[[str], int]:
    """The port of one proxy of each kind, in front of the gateway of POLICY; started when it is first asked for."""
    running: dict[str, int] = {}

    def port(key: str) -> int:
        if key not in running:
            running[key] = start_proxy(key, gateway).port
        return running[key]

    return port
