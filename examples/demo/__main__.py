"""A music site, a crowd of listeners and scrapers, and what each of them got: `python -m examples.demo`."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from prometheus_client import REGISTRY, CollectorRegistry

from examples.demo import albums, promises, proofs
from examples.demo.promises import Scene
from examples.demo.site import Site, Visit
from examples.music_site.app import create_app
from examples.music_site.visitors import VISITORS
from noai_guard.cli.console import terminal_width
from noai_guard.core.model import Action
from noai_guard.core.text import printable, table, truncated

_HUMAN_KINDS = frozenset({"listener", "player", "podcast", "feed", "search", "preview"})
_METRICS = (
    "noai_requests",
    "noai_response_body_bytes",
    "noai_robots_ignored",
    "noai_documents_served",
    "noai_html_injections",
)
_HEADINGS = {
    "listener": "Listeners",
    "player": "Players",
    "podcast": "Podcast apps",
    "feed": "Feed readers",
    "search": "Search engines",
    "preview": "Link previews",
    "ai": "AI",
    "tool": "Tools",
    "odd": "Odd ones",
}


@click.command()
@click.option("--once", is_flag=True, help="End by itself; exit code 1 if somebody did not get what they should.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 for any.  [default: 8000, with --once any]")
def main(once: bool, port: int | None) -> None:
    """Start a small music site behind the guard, send it real HTTP visitors, show what each got and why.

    The site then stays up until Ctrl-C. With --once it ends by itself: exit code 0 if every listener, player,
    podcast app, feed reader, search engine and preview was served and every AI agent was refused with 403.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    if port is None:
        port = 0 if once else 8000
    click.echo("Starting the site (the first time it records its music, which takes a few seconds) ...")
    with TemporaryDirectory(prefix="noai-demo-") as folder, Site(create_app, port) as site:
        click.echo(f"Night Ferry Records plays at {site.url}, guarded by one line: add_middleware(NoAIMiddleware)\n")
        visits = [visit for visitor in VISITORS for visit in site.visited_by(visitor)]
        _show(sorted(visits, key=lambda visit: list(_HEADINGS).index(visit.kind)))
        failures = [line for visit in visits for line in failures_of(visit)]
        failures += _show_proofs(Path(folder))
        failures += _show_scenes(
            "What was promised, since when (a third site, with a ledger and a clock set by hand)",
            promises.scenes(_made(Path(folder) / "promises")),
        )
        failures += _show_scenes(
            "Artists decide (a fourth site, with a page for creators)", albums.scenes(_made(Path(folder) / "albums"))
        )
        _show_metrics(REGISTRY)
        _show_outcome(visits, failures)
        if once:
            raise SystemExit(int(bool(failures)))
        _stay(site)


def failures_of(visit: Visit) -> Iterator[str]:
    """Yield a sentence if the visitor was served or refused wrongly; some kinds of visitors may get either."""
    got = f"{visit.visitor}: {visit.method} {visit.path} got {visit.status}"
    welcome = 200 <= visit.status < 300 or visit.status == 304
    if (visit.kind in _HUMAN_KINDS or (visit.kind == "ai" and visit.is_document)) and not welcome:
        yield f"{got}, should have been served"
    if visit.kind == "ai" and not visit.is_document and visit.status != 403:
        yield f"{got}, should have been refused with 403"


def _show(visits: Sequence[Visit]) -> None:
    header = ("visitor", "request", "status", "bytes", "type", "why")
    rows = [header]
    previous = ""
    for visit in visits:
        name = "" if visit.visitor == previous else visit.visitor
        previous = visit.visitor
        kind = visit.content_type.partition(";")[0]
        path = truncated(printable(visit.path), 44)
        rows.append((name, f"{visit.method} {path}", str(visit.status), f"{visit.size:,}", kind, visit.why))
    lines = list(table(rows, terminal_width()))
    click.secho(lines[0], bold=True)
    heading = ""
    for line, visit in zip(lines[1:], visits, strict=True):
        if visit.kind != heading:
            heading = visit.kind
            click.secho(f"\n{_HEADINGS[heading]}", bold=True)
        refused = visit.verdict is not None and visit.verdict.refuses
        noted = visit.verdict is not None and visit.verdict.action is Action.LOG
        click.secho(line, fg="red" if refused else "yellow" if noted else "green")


def _show_proofs(folder: Path) -> list[str]:
    """Show who can prove who it is; return a sentence for each that did not get what it should."""
    click.secho(
        "\nWho can prove it (a second site, with partners, a rule for signed agents and one of its own)", bold=True
    )
    shown = list(proofs.attempts(folder))
    for attempt in shown:
        click.secho(attempt.line, fg="red" if attempt.is_refused else "green")
        click.echo(f"  {attempt.command}")
    return [line for attempt in shown for line in proofs.failures_of(attempt)]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _show_scenes(title: str, scenes: Iterable[Scene]) -> list[str]:
    """Show what happens at another site; return what was not as it should be."""
    click.secho(f"\n{title}", bold=True)
    failures = []
    for scene in scenes:
        click.secho(scene.line, fg="green" if scene.holds else "red")
        failures += [] if scene.holds else [scene.line]
    return failures


def _show_metrics(registry: CollectorRegistry) -> None:
    click.secho("\nWhat the metrics say (from /metrics; visitors who were simply let in are left out)", bold=True)
    for family in registry.collect():
        if family.name not in _METRICS:
            continue
        for sample in family.samples:
            plain = sample.labels.get("action") == Action.ALLOW or sample.labels.get("agent") == "none"
            if sample.value and not sample.name.endswith("_created") and not plain:
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                click.echo(f"{sample.name}{{{labels}}} {sample.value:.0f}")


def _show_outcome(visits: Sequence[Visit], failures: Sequence[str]) -> None:
    refused = [visit for visit in visits if visit.verdict is not None and visit.verdict.refuses]
    names = {visit.visitor for visit in refused}
    click.echo(
        f"\n{len(visits)} requests: {len(refused)} refused ({len(names)} visitors, "
        f"{sum(visit.size for visit in refused):,} bytes), {len(visits) - len(refused)} served."
    )
    for line in failures:
        click.secho(line, fg="red", err=True)
    if not failures:
        click.secho("Everybody got what they should.", fg="green")


def _stay(site: Site) -> None:
    click.secho("\nThe site stays up until Ctrl-C. Look at", bold=True)
    for path, what in (
        ("/", "the site"),
        ("/tracks/", "its records"),
        ("/feed.xml", "its podcast feed"),
        *((path, "declaration") for path in site.documents),
        ("/metrics", "metrics for Prometheus"),
    ):
        click.echo(f"  {site.url}{path:<28} {what}")
    try:
        click.echo(f"  curl -A GPTBot {site.url}/tracks/")
        site.wait()
    except KeyboardInterrupt:
        click.echo("\nBye.")


if __name__ == "__main__":
    main(prog_name="python -m examples.demo")
