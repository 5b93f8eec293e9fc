"""noai-guard build: the declarations as files, for a site that serves them itself."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from noai_guard.build_date import today
from noai_guard.cli.console import CannotRun
from noai_guard.cli.output_files import content_of, existing_robots, written
from noai_guard.cli.policy_option import chosen_policy, policy_option
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog
from noai_guard.core.model import Document
from noai_guard.core.text import printable
from noai_guard.declarations import robots_txt
from noai_guard.errors import CannotExpress
from noai_guard.responses.documents import document_file
from noai_guard.targets.static_hosts import HOSTS
from noai_guard.targets.static_hosts.host import HeaderRules, Host, told

_PLAIN = "plain"


@click.command("build")
@click.option("--out", type=click.Path(), required=True, metavar="DIR", help="Where to write; the site's root.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    type=click.Choice([*HOSTS, _PLAIN]),
    help="Where the site is published; may be repeated.  [default: all but plain]",
)
@click.option("--vercel", metavar="FILE", type=click.Path(), help="The vercel.json.  [default: DIR/vercel.json]")
@click.option("--merge", type=click.Path(), metavar="ROBOTS.TXT", help="The site's own robots.txt; its rules stay.")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit code 1 when a file is stale.")
@policy_option
@click.pass_context
def command(
    ctx: click.Context,
    out: str,
    hosts: Sequence[str],
    vercel: str | None,
    merge: str | None,
    only_check: bool,
    policy_file: str | None,
) -> None:
    """Write all that the policy declares below DIR: robots.txt, .well-known/tdmrep.json, the page for people ...

    Header fields are no documents, so they stand in what static hosts read: _headers (Netlify, Cloudflare Pages) and
    vercel.json. What stands there already stays, in a robots.txt too. --host plain writes the documents alone, for a
    server that is told the header fields by `noai-guard edge`.

    Each file is replaced at once or not at all, and only when its content changed; the day in robots.txt is that of
    the last change (SOURCE_DATE_EPOCH sets it). Beside each stands its media type. What cannot be said in these
    files comes after them, on standard error.

    \b
    Examples:
      noai-guard build --out public --policy noai.yaml
      noai-guard build --out public --merge robots.source.txt --host netlify
      noai-guard build --out dist --host vercel --vercel vercel.json
      noai-guard build --out public --check          in CI
    """
    compiled = CompiledPolicy(chosen_policy(policy_file), load_catalog(), today())
    folder = Path(out)
    documents = _documents(compiled, folder, merge)
    files = {folder / document_file(document): (document.body, document.media_type) for document in documents}
    notes = list(compiled.cannot_express)
    chosen = _configurations(hosts or list(HOSTS), folder, vercel)
    for file, served in chosen.items():
        content, cannot = _configured(file, served, told(compiled))
        notes += cannot
        if content:
            files[file] = content, f"header fields for {' and '.join(host.title for host in served)}"
    states = written({file: content for file, (content, _) in files.items()}, only_check)
    for file in sorted(files):
        click.echo(f"{states[file]:<8}{click.format_filename(file)}  {files[file][1]}")
    for note in (*notes, *_left_out(compiled, bool(chosen))):
        click.echo(f"note: {printable(note)}", err=True)
    ctx.exit(int("stale" in states.values()))


def _documents(compiled: CompiledPolicy, folder: Path, merge: str | None) -> Iterator[Document]:
    """All documents. robots.txt keeps the rules that are there, and its day where nothing else has changed."""
    documents = dict(compiled.documents)
    there = content_of(folder / "robots.txt") or b""
    if merge is not None:
        documents[robots_txt.PATH] = compiled.merged_robots[existing_robots(merge)]
    elif compiled.merges_robots and there and robots_txt.PATH in documents:
        documents[robots_txt.PATH] = compiled.merged_robots[there]
    for document in documents.values():
        same = document.path == robots_txt.PATH and robots_txt.undated(there) == robots_txt.undated(document.body)
        yield replace(document, body=there) if same else document


def _configurations(hosts: Sequence[str], folder: Path, vercel: str | None) -> dict[Path, list[Host]]:
    """Each configuration file and the hosts that read it."""
    found: dict[Path, list[Host]] = {}
    for key, host in HOSTS.items():
        if key in hosts:
            place = Path(vercel) if vercel is not None and key == "vercel" else folder / host.file
            found.setdefault(place, []).append(host)
    return found


def _configured(file: Path, hosts: Sequence[Host], what: HeaderRules) -> tuple[bytes, Sequence[str]]:
    existing = content_of(file) or b""
    try:
        content = hosts[-1].render(what, existing)
    except CannotExpress as error:
        raise CannotRun(f"{file}: {error}") from error
    return content, [note for host in hosts for note in host.notes(what, existing)]


def _left_out(compiled: CompiledPolicy, told_to_hosts: bool) -> Iterator[str]:
    """What stands in no file and has to be done elsewhere."""
    declared = compiled.declared[0]
    if declared.fields and not told_to_hosts:
        yield "the header fields are in no file: `noai-guard edge` writes them for servers, `explain` shows them."
    if declared.tags:
        yield f"put this into the head of your pages: {declared.tags.decode('ascii')}"
