"""noai-guard serve: the guard as a server of its own, in front of a site in any language."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.policy_option import policy_option
from noai_guard.errors import MissingExtra

if TYPE_CHECKING:
    from noai_guard.reverse_proxy.upstream import Upstream
    from noai_guard.server.apps import ServerApp
    from noai_guard.server.sockets import Address, Listener

_EXTRA = ("aiohttp", "h11", "httptools", "uvicorn", "uvloop", "websockets")

_PROXY, _GATEWAY = "127.0.0.1:8080", "127.0.0.1:9797"
_HERE = {"127.0.0.1", "localhost", "::1", "0.0.0.0", "::"}


class _CannotStart(CannotRun):
    """Nothing is wrong with what was typed; the system says no."""

    exit_code = 3


@click.command("serve")
@policy_option
@click.option(
    "--upstream",
    metavar="URL",
    help="The site: http://HOST:PORT, https://HOST or unix:/path/to/socket. Without it, the gateway runs.",
)
@click.option(
    "--listen",
    "addresses",
    metavar="ADDRESS",
    multiple=True,
    help="HOST:PORT (port 0 for any), [IPv6]:PORT or unix:/path; may be repeated.  [default: 127.0.0.1:8080, the "
    "gateway 127.0.0.1:9797]",
)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--metrics", metavar="ADDRESS", help="Serve /metrics there, and nowhere else.")
@click.option(
    "--drain",
    type=click.FloatRange(0, 86400),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long answers may go on after SIGTERM.",
)
@click.option("--socket-mode", default="660", show_default=True, metavar="OCTAL", help="Permissions of UNIX sockets.")
@click.option("--upstream-host", metavar="NAME", help="The Host that the upstream is told.  [default: the visitor's]")
@click.option("--upstream-ca", metavar="FILE", help="Certificates to check an https upstream with.")
@click.option("--connect-timeout", type=click.FloatRange(0.1), default=5, show_default=True, metavar="SECONDS",
              help="For a connection to the upstream; then 504.")  # fmt: skip
@click.option("--first-byte-timeout", type=click.FloatRange(0.1), default=60, show_default=True, metavar="SECONDS",
              help="From a request to the beginning of its answer; then 504.")  # fmt: skip
@click.option("--idle-timeout", type=click.FloatRange(0.1), default=60, show_default=True, metavar="SECONDS",
              help="Between two parts of a request or an answer.")  # fmt: skip
@click.option("--hold", type=click.IntRange(0, 3600), default=10, show_default=True, metavar="SECONDS",
              help="Gateway: how long a proxy may keep a verdict.")  # fmt: skip
@click.option("--own-robots", metavar="FILE", help="Gateway: the site's own robots.txt, which ours is merged with.")
def command(
    policy_file: str | None,
    upstream: str | None,
    addresses: Sequence[str],
    workers: int,
    metrics: str | None,
    drain: float,
    socket_mode: str,
    upstream_host: str | None,
    upstream_ca: str | None,
    connect_timeout: float,
    first_byte_timeout: float,
    idle_timeout: float,
    hold: int,
    own_robots: str | None,
) -> None:
    """Stand in front of a site as a reverse proxy (--upstream), or be the gateway that another proxy asks.

    Decisions go to stdout as JSON lines, everything else to stderr. /.noai/health and /.noai/ready answer probes.
    SIGTERM stops in order, SIGHUP reads the policy again.

    Exit codes: 0 stopped as asked; 2 usage, or a policy that cannot be used; 3 could not start.

    \b
    Examples:
      noai-guard serve --upstream http://127.0.0.1:3000 --policy noai.yaml
      noai-guard serve --upstream unix:/run/site.sock --listen 0.0.0.0:80 --workers 4 --metrics 127.0.0.1:9464
      noai-guard serve --policy noai.yaml --listen unix:/run/noai/gateway.sock
    """
    if not hasattr(os, "fork"):
        raise CannotRun("serve needs a system with fork, as Linux and macOS; here, serve the ASGI app with uvicorn")
    missing = [module for module in _EXTRA if find_spec(module) is None]
    if missing:
        raise MissingExtra("serve", "noai-guard serve")
    with _folder_for_metrics(workers):
        # Not before: prometheus_client looks for the folder when it is imported.
        from noai_guard.reverse_proxy.upstream import Timeouts
        from noai_guard.server.apps import gateway_site, proxied_site

        texts = addresses or (_GATEWAY if upstream is None else _PROXY,)
        places = [_address(text, "--listen") for text in texts]
        aside = [_address(metrics, "--metrics")] if metrics else []
        mode = _mode(socket_mode)
        if upstream is None:
            what, site = "the gateway", gateway_site(policy_file, hold, own_robots)
        else:
            origin = _origin(upstream, upstream_host, upstream_ca)
            if any(_is_itself(place, origin) for place in places):
                raise CannotRun(f"--upstream {upstream} is this server itself; name the address of the site behind it")
            timeouts = Timeouts(connect_timeout, first_byte_timeout, idle_timeout)
            what, site = str(origin), proxied_site(origin, policy_file, timeouts)
        what += f", policy {policy_file or 'no-ai (packaged)'}, mode {site.guard.compiled.policy.mode}"
        _run(site, what, (places, aside), mode, workers, drain)


@contextmanager
def _folder_for_metrics(workers: int) -> Iterator[None]:
    """Several workers count together in a folder of this run, unless the environment names one."""
    named = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if named is not None and not os.path.isdir(named):
        raise CannotRun(f"PROMETHEUS_MULTIPROC_DIR names {named!r}, which is no folder; make it, or unset the variable")
    if workers == 1 or named is not None:
        yield
        return
    folder = tempfile.mkdtemp(prefix="noai-guard-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_itself(place: "Address", origin: "Upstream") -> bool:
    if place.path or origin.socket:
        return place.path == origin.socket
    hosts = {place.host, origin.hostname}
    return place.port == origin.port and (len(hosts) == 1 or hosts <= _HERE)


def _origin(text: str, host: str | None, ca_file: str | None) -> "Upstream":
    from noai_guard.reverse_proxy.upstream import Upstream, tls_context

    try:
        origin = Upstream.parse(text, host, ca_file)
    except ValueError as error:
        raise CannotRun(f"--upstream: {error}") from error
    try:
        tls_context(origin)
    except OSError as error:
        raise CannotRun(f"--upstream-ca: {ca_file} cannot be used: {error.strerror or error}") from error
    return origin


def _address(text: str, option: str) -> "Address":
    from noai_guard.server.sockets import Address

    try:
        return Address.parse(text)
    except ValueError as error:
        raise CannotRun(f"{option}: {error}") from error


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise CannotRun(f"--socket-mode: {text!r} is no permission; write three octal digits, as 660")
    return mode


def _run(
    site: "ServerApp",
    what: str,
    addresses: "Sequence[Sequence[Address]]",
    mode: int,
    workers: int,
    drain: float,
) -> None:
    """Serves a site at addresses for it, and for metrics alone."""
    from noai_guard.server.logs import log_to_streams
    from noai_guard.server.supervisor import Link, Supervisor
    from noai_guard.server.systemd import notify
    from noai_guard.server.worker import Sockets, serve

    with ExitStack() as stack:
        listeners, metrics = ([_listener(place, mode, stack) for place in places] for places in addresses)
        decisions = log_to_streams()

        def work(link: Link) -> int:
            sockets = Sockets(*([listener.socket for listener in some] for some in (listeners, metrics)))
            code = serve(site, sockets, drain, link)
            decisions.flush()
            return code

        def started() -> None:
            where = ", ".join(str(listener.address) for listener in listeners)
            measured = "".join(f", metrics at {listener.address}" for listener in metrics)
            count = f"{workers} worker{'s' * (workers != 1)}"
            click.echo(f"noai-guard: serving {where} ({what}, {count}{measured})", err=True)
            notify("READY=1")

        def stopping() -> None:
            notify("STOPPING=1")
            for listener in (*listeners, *metrics):
                listener.close()

        supervisor = Supervisor(work, workers, drain)
        if not supervisor.run(started, stopping, site.guard.reload, site.guard.look_at_file):
            raise _CannotStart("could not start; the lines above say why")


def _listener(place: "Address", mode: int, stack: ExitStack) -> "Listener":
    from noai_guard.server.sockets import CannotListen, Listener

    try:
        listener = Listener(place, mode)
    except CannotListen as error:
        raise _CannotStart(str(error)) from error
    stack.callback(listener.remove)
    return listener
