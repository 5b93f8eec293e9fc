"""noai-guard snippet: the configuration with which a proxy asks the gateway before it serves."""

import re
from pathlib import Path
from typing import Any

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.output_files import written
from noai_guard.cli.policy_option import chosen_policy, policy_option
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog
from noai_guard.errors import CannotExpress
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import Address, GatewaySetup


class _Address(click.ParamType[Address]):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if isinstance(value, Address):
            return value
        try:
            return Address.parse(value)
        except ValueError as error:
            self.fail(f"{value!r} is no address: {error}", param, ctx)


_FOLDER = click.Path(file_okay=False)
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._-]*")


@click.command("snippet")
@click.argument("proxy", type=click.Choice(list(PROXIES)))
@click.option("--gateway", type=_Address(), default="127.0.0.1:9797", show_default=True, help="Where the gateway is.")
@click.option("--origin", type=_Address(), default="127.0.0.1:8080", show_default=True, help="Where the site is.")
@click.option("--cache", type=_FOLDER, metavar="DIR", help="Let the proxy keep verdicts, in this folder.")
@click.option("--out", type=_FOLDER, metavar="DIR", help="Write the files below DIR instead of printing them.")
@click.option("--root", metavar="DIR", help="Where DIR will be on the proxy, when it is not here.")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit code 1 when a file below DIR is stale.")
@policy_option
@click.pass_context
def command(
    ctx: click.Context,
    proxy: str,
    gateway: Address,
    origin: Address,
    cache: str | None,
    out: str | None,
    root: str | None,
    only_check: bool,
    policy_file: str | None,
) -> None:
    """Print what makes PROXY ask the gateway (`noai-guard serve`) before it serves.

    It says what happens when the gateway does not answer, from on_unknown of the policy, and which header fields and
    documents are declared: make it again when those change. The rest of the policy may change without it. What PROXY
    cannot do is said on standard error.

    \b
    Examples:
      noai-guard snippet nginx --policy noai.yaml
      noai-guard snippet nginx --policy noai.yaml --out /etc/nginx/conf.d
      noai-guard snippet nginx --policy noai.yaml --gateway unix:/run/noai-guard/gateway.sock
    """
    compiled = CompiledPolicy(chosen_policy(policy_file), load_catalog())
    chosen = PROXIES[proxy]
    trusted = compiled.policy.trusted_proxies
    if not (trusted.unix if gateway.socket else trusted.peers):
        peer = "unix:" if gateway.socket else "127.0.0.1"
        add = f'trusted_proxies: {{peers: ["{peer}"], header: x-forwarded-for}}'
        raise CannotRun(f"the policy lets no proxy ask the gateway; add {add}")
    where = root or (str(Path(out).resolve()) if out else chosen.root)
    if not _PLAIN_PATH.fullmatch(where) or (cache and not _PLAIN_PATH.fullmatch(cache)):
        raise CannotRun(f"{where} or {cache} is not an absolute path of letters, digits and / . _ -; choose another")
    wanted = GatewaySetup(compiled, gateway, where.rstrip("/"), origin, cache)
    try:
        snippets = chosen.render(wanted)
    except CannotExpress as error:
        raise CannotRun(str(error)) from error
    states: dict[Path, str] = {}
    if out is None:
        for snippet in snippets:
            click.echo(f"{chosen.comment} ---- {wanted.root}/{snippet.file}: {snippet.where}\n{snippet.text}")
    else:
        states = written({Path(out) / snippet.file: snippet.text.encode() for snippet in snippets}, only_check)
        for path in sorted(states):
            click.echo(f"{states[path]:<8}{click.format_filename(path)}")
    for limit in chosen.limits(wanted):
        click.echo(f"note: {limit}", err=True)
    ctx.exit(int("stale" in states.values()))
