"""noai-guard serve: the guard as a server of its own, for sites in any language."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.options import SOCKET_ADDRESS, FileName, is_given, policy_name, policy_option
from noai_guard.config.regular_file import open_regular_file
from noai_guard.core.text import printable
from noai_guard.errors import MissingExtra
from noai_guard.server.sockets import BoundSocket, CannotListen
from noai_guard.socket_address import SocketAddress

if TYPE_CHECKING:
    from noai_guard.reverse_proxy.upstream import Upstream
    from noai_guard.server.apps import ServerApp

_EXTRA = ("aiohttp", "h11", "httptools", "uvicorn", "uvloop", "websockets")

_LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1", "0.0.0.0", "::"}


_OF_UPSTREAM = ("upstream_host", "upstream_ca", "connect_timeout", "first_byte_timeout", "idle_timeout")

_OF_GATEWAY = ("hold", "own_robots")


def _permissions(ctx: click.Context, param: click.Parameter, text: str) -> int:
    with suppress(ValueError):
        if 0 <= (mode := int(text, 8)) <= 0o777:
            return mode
    raise click.BadParameter(f"{text!r} is not a permission; write three octal digits, as 660")


@click.command("serve")
@policy_option
@click.option("--upstream", metavar="URL",
              help="The site: http://HOST:PORT, https://HOST or unix:/path/to/socket. Without it, the gateway "
                   "runs.")  # fmt: skip
@click.option("--listen", "addresses", type=SOCKET_ADDRESS, metavar="ADDRESS", multiple=True,
              help="HOST:PORT (port 0 for any), [IPv6]:PORT or unix:/path; may be repeated.  [default: 127.0.0.1:8080, "
                   "the gateway 127.0.0.1:9797]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--metrics", "metrics_address", type=SOCKET_ADDRESS, metavar="ADDRESS",
              help="Serve /metrics there, and nowhere else.")  # fmt: skip
@click.option("--drain", "drain_seconds", type=click.FloatRange(0, 86400), default=30, show_default=True,
              metavar="SECONDS", help="How long responses may take to end after SIGTERM.")  # fmt: skip
@click.option("--socket-mode", default="660", show_default=True, metavar="OCTAL", callback=_permissions,
              help="Permissions of UNIX sockets.")  # fmt: skip
@click.option("--upstream-host", metavar="NAME", help="The Host that the upstream gets.  [default: the visitor's]")
@click.option("--upstream-ca", type=FileName(), metavar="FILE", help="Certificates to check an https upstream with.")
@click.option("--connect-timeout", type=click.FloatRange(0.1), default=5, show_default=True, metavar="SECONDS",
              help="For a connection to the upstream; then 504.")  # fmt: skip
@click.option("--first-byte-timeout", type=click.FloatRange(0.1), default=60, show_default=True, metavar="SECONDS",
              help="From a request to the beginning of its response; then 504.")  # fmt: skip
@click.option("--idle-timeout", type=click.FloatRange(0.1), default=60, show_default=True, metavar="SECONDS",
              help="Between two parts of a request or a response.")  # fmt: skip
@click.option("--hold", type=click.IntRange(0, 3600), default=10, show_default=True, metavar="SECONDS",
              help="Gateway: how long a proxy may keep a verdict.")  # fmt: skip
@click.option(
    "--own-robots",
    type=FileName(),
    metavar="FILE",
    help="Gateway: the site's own robots.txt, which ours is merged with.",
)
@click.pass_context
def command(
    ctx: click.Context,
    policy_file: str | None,
    upstream: str | None,
    addresses: Sequence[SocketAddress],
    workers: int,
    metrics_address: SocketAddress | None,
    drain_seconds: float,
    socket_mode: int,
    upstream_host: str | None,
    upstream_ca: str | None,
    connect_timeout: float,
    first_byte_timeout: float,
    idle_timeout: float,
    hold: int,
    own_robots: str | None,
) -> None:
    """Stand in front of a site as a reverse proxy (--upstream), or be the gateway that another proxy asks.

    Decisions go to stdout as JSON lines, everything else to stderr. /.noai/health and /.noai/ready are for probes.
    SIGTERM stops in order, SIGHUP reads the policy again.

    Exit codes: 0 stopped by a signal; 2 usage, or a policy that cannot be used; 3 could not start.

    \b
    Examples:
      noai-guard serve --upstream http://127.0.0.1:3000 --policy noai.yaml
      noai-guard serve --upstream unix:/run/site.sock --listen 0.0.0.0:80 --workers 4 --metrics 127.0.0.1:9464
      noai-guard serve --policy noai.yaml --listen unix:/run/noai/gateway.sock
    """
    if not hasattr(os, "fork"):
        raise CannotRun("serve needs a system with fork, as Linux and macOS; here, serve the ASGI app with uvicorn")
    if any(find_spec(module) is None for module in _EXTRA):
        raise MissingExtra("serve", "noai-guard serve")
    for option in _OF_GATEWAY if upstream else _OF_UPSTREAM:
        if is_given(ctx, option):
            form = "with --upstream" if upstream else "without --upstream, where the gateway runs"
            raise CannotRun(f"--{option.replace('_', '-')} does nothing {form}; leave it out")
    with _metrics_folder(workers):
        # Imported only now: prometheus_client looks for the folder when it is imported.
        from noai_guard.reverse_proxy.upstream import Timeouts
        from noai_guard.server.apps import gateway_app, reverse_proxy_app

        if upstream is None:
            addresses = addresses or [SocketAddress("127.0.0.1", 9797)]
            title, served = "the gateway", gateway_app(policy_file, hold, own_robots)
            if own_robots is not None and (reason := _unreadable(own_robots)):
                consequence = "/robots.txt is 503 until it can be"
                click.echo(f"noai-guard: --own-robots {printable(own_robots)}: {reason}; {consequence}", err=True)
        else:
            addresses = addresses or [SocketAddress("127.0.0.1", 8080)]
            origin = _origin(upstream, upstream_host, upstream_ca)
            if any(_is_same_server(address, origin) for address in addresses):
                raise CannotRun(f"--upstream {upstream} is this server itself; name the address of the site behind it")
            timeouts = Timeouts(connect_timeout, first_byte_timeout, idle_timeout)
            title, served = str(origin), reverse_proxy_app(origin, policy_file, timeouts)
        title += f", policy {policy_name(policy_file)}, mode {served.runtime.compiled.policy.mode}"
        trusted = served.runtime.compiled.policy.trusted_proxies
        if not (trusted.peers or trusted.unix):
            consequence = "no header about the client is believed" if upstream else "no proxy may ask"
            title += f", trusts nobody ({consequence}: the policy has no trusted_proxies)"
        policy = served.runtime.compiled.policy
        if workers > 1 and policy.throttles and served.runtime.store.remote is None:
            most = workers * policy.throttle.requests
            title += (
                f", throttles at up to {most:,} instead of {policy.throttle.requests:,} requests (each worker counts "
            )
            title += "for itself; store: embedded in the policy lets them count together)"
        with ExitStack() as stack:
            bound = [_bound(address, socket_mode, stack) for address in addresses]
            metrics = [_bound(metrics_address, socket_mode, stack)] if metrics_address else []
            _supervise(served, title, bound, metrics, workers, drain_seconds)


def _unreadable(file: str) -> str:
    """Return why a file cannot be read; empty if it can."""
    try:
        open_regular_file(file).close()
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return ""


@contextmanager
def _metrics_folder(workers: int) -> Iterator[None]:
    """Provide the folder in which several workers count together: a new one unless the environment names one that can
    be used."""
    named = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if named is not None and (problem := _unusable(named)):
        click.echo(f"noai-guard: PROMETHEUS_MULTIPROC_DIR={named} is not used: {problem}", err=True)
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        named = None
    if workers == 1 or named is not None:
        yield
        return
    with TemporaryDirectory(prefix="noai-guard-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def _unusable(folder: str) -> str:
    """Make a folder if it is not there. Return why no file can be made in it, or an empty text."""
    try:
        os.makedirs(folder, exist_ok=True)
        with TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _is_same_server(address: SocketAddress, origin: "Upstream") -> bool:
    if address.path or origin.socket:
        return address.path == origin.socket
    hosts = {address.host, origin.hostname}
    return address.port == origin.port and (len(hosts) == 1 or hosts <= _LOCAL_HOSTS)


def _origin(text: str, host: str | None, ca_file: str | None) -> "Upstream":
    from noai_guard.reverse_proxy.upstream import Upstream, tls_context

    try:
        origin = Upstream.parse(text, host, ca_file)
        tls_context(origin)
    except OSError as error:
        raise CannotRun(f"--upstream-ca: {ca_file} cannot be used: {error.strerror or error}") from error
    except ValueError as error:
        raise CannotRun(f"--upstream: {error}") from error
    return origin


def _bound(address: SocketAddress, mode: int, stack: ExitStack) -> BoundSocket:
    try:
        bound = BoundSocket(address, mode)
    except CannotListen as error:
        raise CannotRun(str(error), exit_code=3) from error
    stack.callback(bound.remove)
    return bound


def _supervise(
    served: "ServerApp",
    title: str,
    bound: Sequence[BoundSocket],
    metrics: Sequence[BoundSocket],
    workers: int,
    drain_seconds: float,
) -> None:
    """Run the workers until a signal comes: they serve the app on `bound`, and metrics alone on `metrics`."""
    from noai_guard.server.logs import Logs
    from noai_guard.server.supervisor import Supervisor, WorkerPipes, notify_systemd
    from noai_guard.server.worker import serve

    logs = Logs()

    def work(pipes: WorkerPipes) -> int:
        with logs.in_background():
            return serve(
                served, [each.socket for each in bound], [each.socket for each in metrics], drain_seconds, pipes
            )

    def on_start() -> None:
        addresses = ", ".join(str(each.address) for each in bound)
        details = f"{title}, {workers} worker{'s' * (workers != 1)}"
        details += "".join(f", metrics at {each.address}" for each in metrics)
        click.echo(f"noai-guard: serving {addresses} ({details})", err=True)
        notify_systemd("READY=1")

    def on_stop() -> None:
        notify_systemd("STOPPING=1")
        for each in (*bound, *metrics):
            each.socket.close()

    supervisor = Supervisor(work, workers, drain_seconds)
    if not supervisor.run(on_start, on_stop, served.runtime.reload, served.runtime.reloading.reload_if_changed):
        raise CannotRun("could not start; the lines above say why", exit_code=3)
