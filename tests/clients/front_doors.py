"""The ways to put the guard before the music site. Each starts what it takes and gives the site."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from examples.music_site import feeds
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_policy
from noai_guard.socket_address import SocketAddress
from tests.clients.music_site import POLICY
from tests.clients.site import Site, fetched
from tests.gateway.proxies import running_proxies
from tests.reverse_proxy import proxy_kit
from tests.servers import Server, free_port

_ROOT = Path(__file__).parents[2]

StartServer = Callable[..., Server]


def serve(server: StartServer, factory: str, port: int = 0, **env: str) -> Server:
    """Starts an app of music_site.py."""
    app = f"tests.clients.music_site:{factory}"
    return server("uvicorn-httptools", app, _ROOT, port=port, options=("--factory", "--no-proxy-headers"), env=env)


@contextmanager
def middleware(server: StartServer, folder: Path) -> Iterator[Site]:
    """The middleware in the site's own application."""
    port, log = free_port(), folder / "asked"
    url = f"http://127.0.0.1:{port}"
    serve(server, "guarded", port, SITE_URL=url, ASKED=str(log))
    yield _site(url, POLICY, log, sees_refused=True, writes_tags=True)


@contextmanager
def nginx(server: StartServer, folder: Path) -> Iterator[Site]:
    """nginx before the site, which asks the gateway."""
    policy, own_robots, log = folder / "noai.yaml", folder / "robots.txt", folder / "asked"
    policy.write_text(POLICY.read_text())
    own_robots.touch()
    origin = free_port()
    asked = f"log_format asked escape=json '{_NGINX_ASKED}';"
    location = f"access_log {log} asked; location / {{ proxy_pass http://127.0.0.1:{origin}; }}"
    with ExitStack() as stack:
        port = _noai_guard_serve(stack, folder, f"--policy={policy}", f"--own-robots={own_robots}")
        environment = running_proxies.Environment(folder, origin, SocketAddress("127.0.0.1", port), _front(policy))
        edge = running_proxies.nginx(environment, location, http=asked)
        stack.callback(edge.stop)
        url = f"http://127.0.0.1:{edge.port}"
        own_robots.write_text(feeds.robots(url))
        serve(server, "plain", origin, SITE_URL=url)
        yield _site(url, policy, log, sees_refused=True, writes_tags=False)


@contextmanager
def reverse_proxy(server: StartServer, folder: Path) -> Iterator[Site]:
    """`noai-guard serve --upstream` before the site, which writes down what is let through."""
    origin, log = free_port(), folder / "asked"
    with ExitStack() as stack:
        port = _noai_guard_serve(stack, folder, f"--policy={POLICY}", f"--upstream=http://127.0.0.1:{origin}")
        url = f"http://127.0.0.1:{port}"
        serve(server, "plain", origin, SITE_URL=url, ASKED=str(log))
        yield _site(url, POLICY, log, sees_refused=False, writes_tags=True)


def _noai_guard_serve(stack: ExitStack, folder: Path, *options: str) -> int:
    """The port of a `noai-guard serve` that runs until the stack ends."""
    command = proxy_kit.start_serve(folder, "--listen=127.0.0.1:0", *options, cwd=_ROOT)
    stack.callback(command.stop)
    return command.port


_NGINX_ASKED = (
    '{"method":"$request_method","target":"$request_uri","user_agent":"$http_user_agent",'
    '"range":"$http_range","status":$status}'
)

FRONT_DOORS: Mapping[str, Callable[[StartServer, Path], AbstractContextManager[Site]]] = {
    "middleware": middleware,
    "nginx": nginx,
    "reverse-proxy": reverse_proxy,
}
"""The first is the one through which every client comes."""


def _front(policy: Path) -> CompiledPolicy:
    return CompiledPolicy(load_policy(policy), load_catalog())


def _site(url: str, policy: Path, log: Path, *, sees_refused: bool, writes_tags: bool) -> Site:
    robots = fetched(url, "/robots.txt").body.decode()
    return Site(url, _front(policy), robots, log, sees_refused, writes_tags)
