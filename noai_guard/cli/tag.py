"""noai-guard tag: the reservation into the tags of audio files, and out of them again."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path

import click

from noai_guard.cli.console import CannotRun, on_terminal
from noai_guard.cli.options import FileName, chosen_policy, name_policy, policy_option
from noai_guard.cli.output_files import print_limitations
from noai_guard.cli.promised_policy import compiled_with_promises
from noai_guard.core.text import printable
from noai_guard.tagging import readback, report
from noai_guard.tagging.credentials import ALGORITHMS, Signer
from noai_guard.tagging.fields import NOTHING
from noai_guard.tagging.file import Options, Outcome, Result
from noai_guard.tagging.library import Job, Paths, audio_files, work
from noai_guard.tagging.says import Says, limitations
from noai_guard.tagging.undo import UndoFile

_FEW = 16
"""Files for which no further processes are started."""

_UNDO_FILE = "noai-tags.undo"
_FILE = FileName(dir_okay=False)


@click.command("tag")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@policy_option
@click.option("--root", type=FileName(exists=True, file_okay=False), metavar="DIR",
              help="The folder whose content is the site: DIR/tracks/a.mp3 is /tracks/a.mp3.")  # fmt: skip
@click.option(
    "--url-prefix", default="/", metavar="PATH", help="Where on the site the content of --root is.  [default: /]"
)
@click.option("--dry-run", is_flag=True, help="Write nothing; exit code 1 if a file would be changed.")
@click.option("--undo", is_flag=True, help="Give the files their bytes of before they were tagged.")
@click.option("--remove", is_flag=True, help="Take our tags out of the files, and nothing else.")
@click.option("--undo-file", type=_FILE, default=_UNDO_FILE, show_default=True, metavar="FILE",
              help="Where the way back is kept.")  # fmt: skip
@click.option("--no-undo", is_flag=True, help="Keep no way back.")
@click.option("--hard-links", type=click.Choice(["leave", "split"]), default="leave", show_default=True,
              help="A file with several names: leave it alone, or tag it under this name only.")  # fmt: skip
@click.option("--format", "style", type=click.Choice(["text", "json", "csv"]), default="text",
              help="text for people; json (an object a line) or csv for programs.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N", help="Processes.  [default: one for each processor]")
@click.option("--sign-cert", type=_FILE, metavar="PEM", help="Sign with this certificate chain (Content Credentials).")
@click.option("--sign-key", type=_FILE, metavar="PEM", help="Its private key, as PKCS #8.")
@click.option("--sign-algorithm", type=click.Choice(ALGORITHMS), default="es256", show_default=True)
@click.option("--sign-timestamps", default="", metavar="URL", help="A time stamp authority (RFC 3161).")
@click.option("--sign-trust", type=_FILE, metavar="PEM", help="Certificates that are trusted; none by default.")
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    policy_file: str | None,
    root: str | None,
    url_prefix: str,
    dry_run: bool,
    undo: bool,
    remove: bool,
    undo_file: str,
    no_undo: bool,
    hard_links: str,
    style: str,
    jobs: int | None,
    sign_cert: str | None,
    sign_key: str | None,
    sign_algorithm: str,
    sign_timestamps: str,
    sign_trust: str | None,
) -> None:
    """Write what the policy reserves into the tags of audio files: MP3, FLAC, Ogg Vorbis, Opus, M4A, WAV, AIFF.

    Each PATH is a file or a folder. Where the policy has sections (paths) or works, --root says which path of the
    site a file has. What a creator wishes for a work counts as on the site.

    Every file is replaced at once, and only after what was written has been read again: the audio and all other tags
    are the same bytes. Owner, mode and extended attributes stay; the modification time is new, because caches need
    it. A file that cannot be changed safely is left alone and named. A second run changes nothing, so a run that was
    stopped is simply started again.

    The way back is kept in --undo-file: `--undo` gives a file its old bytes, unless somebody else has changed it
    since; `--remove` takes our tags out in any case.

    Exits with code 0 if every file is as it should be, 1 if one was left alone or, with --dry-run, would be changed.

    \b
    Examples:
      noai-guard tag music/
      noai-guard tag public/audio --root public --dry-run
      noai-guard tag /srv/audio --root /srv/audio --url-prefix /audio --format csv > report.csv
      noai-guard tag music/ --sign-cert chain.pem --sign-key key.pem
      noai-guard tag music/ --undo
    """
    readback.require()
    if undo and (remove or no_undo):
        raise CannotRun("--undo stands alone; leave out --remove and --no-undo")
    signer = _signer(sign_cert, sign_key, sign_algorithm, sign_timestamps, sign_trust)
    if signer and (undo or remove):
        raise CannotRun("nothing is signed with --undo and --remove; leave out --sign-cert")
    if "://" in url_prefix:
        raise CannotRun("--url-prefix is a path of the site, such as /media; leave out scheme and host")
    says, promises = (None, ()) if undo or remove else _says(policy_file)
    if says and says.depends_on_path and root is None:
        raise CannotRun("the policy says different things for different paths; say --root, the folder of the site")
    index = says.policy.creators.index if says else None
    if index is not None and not index.known:
        raise CannotRun(
            "the wishes of creators cannot be read, so nobody knows what tags have to say; see noai-guard check"
        )
    way_back = None if no_undo else _way_back(undo_file, undo, dry_run)
    fields_of = _fields_of(says, Paths(root, url_prefix)) if says else lambda job: _all_alike(job, undo)
    jobs_to_do = map(fields_of, audio_files(paths, not dry_run))
    options = Options(way_back, signer, dry_run, hard_links == "split")
    counted = _run(jobs_to_do, _count(paths), options, jobs or os.cpu_count() or 1, style)
    if says:
        counted.print_limitations(says)
        print_limitations(promises)
        name_policy(policy_file)
    ctx.exit(int(bool(counted.outcomes[Outcome.LEFT_ALONE] or counted.outcomes[Outcome.STALE])))


def _says(policy_file: str | None) -> tuple[Says, tuple[str, ...]]:
    """Return what files say under the stricter of the policy and its ledger, and sentences about the ledger."""
    compiled, notes = compiled_with_promises(chosen_policy(policy_file))
    return Says(compiled.guard.table), notes


def _signer(
    certificate: str | None, key: str | None, algorithm: str, timestamps: str, trust: str | None
) -> Signer | None:
    if (certificate is None) != (key is None):
        raise CannotRun("signing needs both a certificate and its key; name --sign-cert and --sign-key")
    if certificate is None or key is None:
        return None
    signer = Signer(
        Path(certificate).absolute(), Path(key).absolute(), algorithm, timestamps,
        Path(trust).absolute() if trust else None,
    )  # fmt: skip
    signer.check()
    return signer


def _way_back(file: str, undo: bool, dry_run: bool) -> UndoFile | None:
    if undo and not os.path.exists(file):
        raise CannotRun(f"there is no {file}; name the file with the way back with --undo-file")
    way_back = UndoFile(Path(file).absolute())
    if not dry_run:
        way_back.prepare()
    return way_back


def _fields_of(says: Says, paths: Paths) -> Callable[[Job], Job]:
    def with_fields(job: Job) -> Job:
        path = paths.of(job.path)
        if path is None:
            return job._replace(problem=job.problem or "it is not below --root")
        return job._replace(fields=says.fields(path))

    return with_fields


def _all_alike(job: Job, undo: bool) -> Job:
    return job._replace(fields=None if undo else NOTHING)


def _count(paths: tuple[str, ...]) -> int:
    """Return the number of files, for the progress bar; 0 if nobody sees one."""
    return sum(1 for _ in audio_files(paths, clean=False)) if sys.stderr.isatty() else 0


class _Counted:
    """Numbers about what became of all files, and of what could not be written."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.formats: set[str] = set()
        self.notes: Counter[str] = Counter()

    def add(self, result: Result) -> None:
        self.outcomes[result.outcome] += 1
        self.notes.update(result.notes)
        if result.format:
            self.formats.add(result.format)

    def summary(self) -> str:
        numbers = [f"{count:,} {outcome}" for outcome in Outcome if (count := self.outcomes[outcome])]
        return ", ".join(numbers) or "no audio files found"

    def print_limitations(self, says: Says) -> None:
        notes = sorted(self.notes.items())
        print_limitations(f"{count:,} {'file' if count == 1 else 'files'}: {note}." for note, count in notes)
        print_limitations(limitations(says.policy))


def _run(jobs: Iterable[Job], total: int, options: Options, processes: int, style: str) -> _Counted:
    """Work on the files, print what became of them, and return the numbers."""
    counted = _Counted()
    printed = {"text": _text, "json": report.json_line, "csv": report.csv_line}[style]
    if style == "csv":
        click.echo(report.csv_head())
    first = list(islice(jobs, _FEW))
    results = work(chain(first, jobs), options, processes if len(first) == _FEW else 1)
    with click.progressbar(length=total, file=sys.stderr, hidden=not total, label="Files") as bar:
        for result in results:
            counted.add(result)
            if line := printed(result):
                click.echo(("\r\033[K" if total and on_terminal() else "") + line)
            bar.update(1)
    if style == "text":
        click.echo(counted.summary())
    return counted


def _text(result: Result) -> str:
    """Return a line about a file, for those of which people want to hear."""
    if result.outcome is Outcome.CURRENT:
        return ""
    reason = f": {result.reason}" if result.reason else ""
    return printable(f"{result.outcome:<10}  {result.path}{reason}")
