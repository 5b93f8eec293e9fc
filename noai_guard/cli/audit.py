"""noai-guard audit: check the declarations of a live site, and whether it enforces them."""

import json
from importlib.util import find_spec
from urllib.parse import urlsplit

import click

from noai_guard.audit.finding import Severity
from noai_guard.cli.console import CannotRun, on_terminal, terminal_width
from noai_guard.core.text import printable
from noai_guard.core.web_addresses import is_web_address, numeric_host
from noai_guard.errors import MissingExtra

_EXTRA_MODULES = ("http_sf", "httpx2", "protego")
_WIDTH = 80
_MAX_WIDTH = 100


@click.command("audit")
@click.argument("url")
@click.option("--audio", default="", metavar="URL",
              help="A recording; by default the first one that the page leads to.")  # fmt: skip
@click.option("--format", "style", type=click.Choice(["text", "json", "sarif"]), default="text",
              help="text for people, json for programs, sarif for code hosts.")  # fmt: skip
@click.option("--fail-on", type=click.Choice([*map(str, Severity), "never"]), default="error",
              show_default=True, help="Exit with code 1 if a finding is at least this severe.")  # fmt: skip
@click.option("--impersonate/--no-impersonate", default=True,
              help="Also send requests under the names of browsers and crawlers.  [default: yes]")  # fmt: skip
@click.option("--delay", type=click.FloatRange(0, 60), default=0.2, show_default=True, metavar="SECONDS",
              help="Pause between requests.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(1, 300), default=20, show_default=True, metavar="SECONDS",
              help="Maximum time for one response, redirects included.")  # fmt: skip
@click.option("--allow-private", is_flag=True,
              help="The site is on this machine or its own network; http://127.0.0.1:8000/ says so too.")  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context,
    url: str,
    audio: str,
    style: str,
    fail_on: str,
    impersonate: bool,
    delay: float,
    timeout: float,
    allow_private: bool,
) -> None:
    """Check the declarations of the live site at URL, and whether the site enforces them.

    Sends about 50 requests, one after the other: the page, one recording in several ways, robots.txt and other
    declarations; then the page and the recording as a browser, a podcast app (AntennaPod), a link preview
    (facebookexternalhit), Googlebot, GPTBot and ClaudeBot; and both with a query added, as GPTBot and then as a browser
    and the other way round, to see what a cache in front mixes up. Sends no cookies and no credentials.

    A site on the open network cannot lead the audit to this machine or its own network, by a link, a redirect or a
    name. If the site is there, say --allow-private.

    Exits with code 0 if there is no finding of the severity of --fail-on or worse, 1 if there is one, 2 if the site
    cannot be reached.

    \b
    Examples:
      noai-guard audit https://music.example/
      noai-guard audit music.example --audio https://cdn.example/song.mp3
      noai-guard audit music.example --no-impersonate --fail-on warning
      noai-guard audit staging.music.example --allow-private
      noai-guard audit music.example --format sarif > audit.sarif
    """
    page, recording = _address(url), _address(audio) if audio else ""
    if any(find_spec(module) is None for module in _EXTRA_MODULES):
        raise MissingExtra("audit", "noai-guard audit")
    from noai_guard.audit.report import json_object, sarif, terminal
    from noai_guard.audit.run import audit as run_audit

    if on_terminal():
        click.echo(f"Auditing {printable(page)}, one request at a time ...", err=True)
    interpretation, findings = run_audit(
        page, recording, impersonate=impersonate, delay=delay, timeout=timeout, allow_private=allow_private
    )
    if style == "sarif":
        click.echo(json.dumps(sarif.log(findings), indent=2))
    elif style == "json":
        click.echo(json.dumps(json_object.report(interpretation, findings), indent=2))
    else:
        width = min(terminal_width(), _MAX_WIDTH) if on_terminal() else _WIDTH
        for line in terminal.report(interpretation, findings, width):
            click.echo(line)
    failing = () if fail_on == "never" else [*Severity][: Severity(fail_on).rank + 1]
    ctx.exit(int(any(finding.rule.severity in failing for finding in findings)))


def _address(text: str) -> str:
    """Return an address as typed as a URL, with https if it has no scheme. Raises CannotRun if it is none."""
    url = text.strip() if "://" in text else f"https://{text.strip()}"
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise CannotRun("the address holds a user name or password, which an audit never sends; leave it out")
    if not is_web_address(url) or any(character.isspace() or not character.isprintable() for character in url):
        raise CannotRun(f"{text!r} is no web address; write https://music.example/ or a host name")
    parts = urlsplit(url)
    address = numeric_host(url)
    if address is not None and str(address) != (parts.hostname or "").partition("%")[0] and address.version == 4:
        raise CannotRun(f"{parts.hostname} is another spelling of {address}; write that")
    return parts._replace(path=parts.path or "/", fragment="").geturl()
