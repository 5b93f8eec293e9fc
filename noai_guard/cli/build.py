"""noai-guard build: the declarations as files, for a site that serves them itself."""

from pathlib import Path

import click

from noai_guard.cli.output_files import existing_robots, written
from noai_guard.cli.policy_option import chosen_policy, policy_option
from noai_guard.declarations import robots_txt
from noai_guard.front import Front, document_file
from noai_guard.loading import load_catalog


@click.command("build")
@click.option("--out", type=click.Path(), required=True, metavar="DIR", help="Where to write; the site's root.")
@click.option("--merge", type=click.Path(), metavar="ROBOTS.TXT", help="The site's own robots.txt; its rules stay.")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit code 1 when a file is stale.")
@policy_option
@click.pass_context
def command(ctx: click.Context, out: str, merge: str | None, only_check: bool, policy_file: str | None) -> None:
    """Write every document that the policy declares below DIR: robots.txt, .well-known/tdmrep.json, the page ...

    Each file is replaced at once or not at all, and only when its content changed. Serve each with the media
    type printed beside it. The X-Robots-Tag and other headers are not files: `noai-guard explain` shows them.

    \b
    Examples:
      noai-guard build --out public --policy noai.yaml
      noai-guard build --out public --merge robots.source.txt
      noai-guard build --out public --check          in CI
    """
    front = Front(chosen_policy(policy_file), load_catalog())
    documents = dict(front.documents)
    if merge is not None:
        documents[robots_txt.PATH] = front.merged_robots[existing_robots(merge)]
    folder = Path(out)
    files = {folder / document_file(document): document for document in documents.values()}
    states = written({file: document.body for file, document in files.items()}, only_check)
    for file, document in sorted(files.items()):
        click.echo(f"{states[file]:<8}{click.format_filename(file)}  {document.media_type}")
    ctx.exit(int("stale" in states.values()))
