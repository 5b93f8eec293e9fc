"""noai-guard build: the declarations as files, for a site that serves them itself."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from noai_guard.cli.console import CannotRun, unwritable
from noai_guard.cli.policy_option import chosen_policy, policy_option
from noai_guard.declarations import robots_txt
from noai_guard.front import Front
from noai_guard.loading import load_catalog
from noai_guard.model import Document
from noai_guard.request_path import normal_path

_MOST_ROBOTS_BYTES = 500 * 1024
"""How much of a robots.txt counts: RFC 9309 lets parsers stop there."""


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
        documents[robots_txt.PATH] = front.merged_robots[_existing(merge)]
    folder = Path(out)
    files = {_place(folder, document): document for document in documents.values()}
    stale = {file: document for file, document in files.items() if _content(file) != document.body}
    if not only_check:
        _write(stale)
    for file, document in sorted(files.items()):
        state = ("stale" if only_check else "wrote") if file in stale else "current"
        click.echo(f"{state:<8}{click.format_filename(file)}  {document.media_type}")
    ctx.exit(int(only_check and bool(stale)))


def _existing(file: str) -> bytes:
    try:
        with Path(file).open("rb") as stream:
            return stream.read(_MOST_ROBOTS_BYTES)
    except OSError as error:
        raise CannotRun(f"{file} cannot be read: {error.strerror}; name the site's robots.txt") from error


def _place(folder: Path, document: Document) -> Path:
    """Where a document stands below the folder, whatever its path: dot segments do not lead out of it."""
    path = normal_path(document.path)
    return folder / (f"{path}index.html" if path.endswith("/") else path).lstrip("/")


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotRun(f"{file} cannot be read: {error.strerror}; choose another folder with --out") from error


def _write(documents: Mapping[Path, Document]) -> None:
    """All files beside their places first, then all into place."""
    partial = {file: file.with_name(f".{file.name}.{os.getpid()}.partial") for file in documents}
    try:
        for file, document in documents.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            partial[file].write_bytes(document.body)
        for file in documents:
            partial[file].replace(file)
    except OSError as error:
        _remove(partial.values())
        raise unwritable(error) from error


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        try:
            file.unlink()
        except OSError:
            continue
