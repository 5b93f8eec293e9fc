"""noai-guard ledger at: what was promised on a day, and what documents declared for a path by creators' wishes."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from noai_guard.audit.readers.tdmrep import first_match, read_entries
from noai_guard.cli.console import CannotRun, unwritable
from noai_guard.cli.ledger_source import (
    current_time,
    ledger_option,
    read_ledger,
    settings_of,
    source_of,
    warn_if_damaged,
)
from noai_guard.cli.options import FileName, policy_option
from noai_guard.core.model import PathPolicy
from noai_guard.core.path_patterns import PathMatcher
from noai_guard.core.paths import normal_path
from noai_guard.core.stricter import sections_within, stricter_policy
from noai_guard.core.text import listed, printable
from noai_guard.declarations.shared import robots_file
from noai_guard.record.history import title_of, when
from noai_guard.record.ledger import Entry, Ledger, iso
from noai_guard.record.ledger_files import read_document
from noai_guard.record.policy_changes import ACTION_WORDS

_REST_OF_URL = re.compile(r"\A[A-Za-z]+://[^/?#]*|[?#].*\Z", re.DOTALL)
"""What stands around the path of an address that was copied from a browser: no policy goes by it."""

_ROBOTS, _TDMREP = "/robots.txt", "/.well-known/tdmrep.json"


def _moment(ctx: click.Context, param: click.Parameter, text: str) -> datetime:
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise CannotRun(f"{printable(text)!r} is no day or moment; write 2026-03-01 or 2026-03-01T12:00:00Z")


@click.command("at")
@click.argument("moment", metavar="DATE", callback=_moment)
@click.option("--path", metavar="PATH", help="Only what was promised for this path, or URL.")
@click.option("--out", metavar="DIR", type=FileName(), help="Also write the documents of that day below DIR.")
@ledger_option
@policy_option
@click.pass_context
def command(
    ctx: click.Context, moment: datetime, path: str | None, out: str | None, source: str | None, policy_file: str | None
) -> None:
    """Say what was promised on DATE (UTC, at its beginning; or 2026-03-01T12:00:00Z).

    While a looser version was announced, the stricter one counts. With --path, also what robots.txt and tdmrep.json of
    that day declared for it by what its creator wished, or that this is not known: the ledger holds what documents
    said, not the catalogue of wishes, and a wish that says the same as the site is in no document.
    """
    settings = settings_of(policy_file)
    ledger = read_ledger(source_of(source, settings))
    promised = ledger.promised(moment)
    if not promised:
        first = iso(ledger.entries[0].time)
        raise CannotRun(f"nothing was promised then: the first entry is of {first}; ask for that moment", exit_code=1)
    for line in _at(ledger, promised, moment, path):
        click.echo(printable(line))
    if moment > current_time():
        click.echo("note: that day is still to come; what is published before it may change this", err=True)
    if out is not None:
        _write_documents(ledger, promised[0], Path(out))
    ctx.exit(warn_if_damaged(ledger, settings))


def _at(ledger: Ledger, promised: tuple[Entry, ...], moment: datetime, path: str | None) -> Iterator[str]:
    entry = promised[0]
    policies = [each.public_policy for each in promised]
    policy = stricter_policy(policies)
    yield f"{iso(moment)}, by entry {entry.number} of {iso(entry.time)} ({entry.author}), catalogue {entry.catalogue}:"
    if policy.mode.value == "monitor":
        yield "the site only watched: it declared this and refused nobody (mode monitor)"
    sections = policy.all_path_policies
    if path is not None:
        path = normal_path(_REST_OF_URL.sub("", path) or "/")
        where = PathMatcher([section.pattern for section in policy.path_policies]).first(path) + 1
        sections = (sections[where],)
        yield f"{path} is under {sections[0].pattern}"
    for section in sections:
        yield ""
        yield f"{section.pattern}"
        for usage, action in section.usages.items():
            yield f"  {usage:<12} {ACTION_WORDS[action]}"
        yield from _header_lines(promised, section)
    exempt = PathMatcher(policy.exemptions.paths) if policy.exemptions.paths else None
    if path is not None and exempt and exempt.first(path) >= 0:
        yield "  open to everybody: an exempt path"
    for rule in policy.rules:
        if path is not None and rule.paths and PathMatcher(rule.paths).first(path) < 0:
            continue
        who = listed([*sorted(rule.agents), *sorted(rule.operators), *map(str, rule.usages)]) or "everybody"
        yield f"  rule {rule.id}: {ACTION_WORDS[rule.action]} for {who}"
    if path is not None:
        wished: dict[tuple[str, ...], list[str]] = {}
        for each in promised:
            wished.setdefault(tuple(_wishes(ledger, each, path)), []).append(str(each.number))
        for lines, numbers in wished.items():
            yield ""
            yield f"what its creator wished, by {'entry' if len(numbers) == 1 else 'entries'} {listed(numbers)}:"
            yield from lines
    yield ""
    for document, facts in entry.declarations["documents"].items():
        yield f"declared by entry {entry.number} in {document}  sha256 {facts['sha256']}"
    for later in promised[1:]:
        changes = "; ".join(later.changes) or "no changes"
        successor = ledger.successor(later)
        state = f"announced for {iso(later.effective)}" if ledger.waits(later) else "in force too"
        replaced = f", which entry {successor.number} replaces" if successor else ""
        yield f"{state} by entry {later.number}{replaced}: {changes}"
    for later in ledger.entries:
        if moment < later.time < moment + timedelta(days=1) and moment.hour == 0:
            yield f"later that day: entry {later.number}, {title_of(later)}. {when(later, ledger)}"


def _header_lines(promised: Sequence[Entry], section: PathPolicy) -> Iterator[str]:
    """Yield what was declared in header fields on the paths of a section: by the first entry that says the same there.

    An entry holds the lines of its own policy, and not those of the strictest of several.
    """
    for entry in promised:
        for own in sections_within(entry.public_policy, section.pattern):
            if own.usages == section.usages:
                for line in entry.declarations["headers"].get(own.pattern, ()):
                    yield f"  declared in each response: {line}"
                return
    numbers = listed([str(entry.number) for entry in promised])
    yield f"  declared in each response: the strictest of entries {numbers}, whose own lines differ"


def _wishes(ledger: Ledger, entry: Entry, path: str) -> Iterator[str]:
    """Yield what the documents of an entry said of a path by what its creator wished, or that this is not known."""
    if not entry.declarations.get("wishes"):
        yield "  not known: no document of this entry names a single work, and the ledger keeps what documents said"
        return
    bodies = {name: _document(ledger, entry, name) for name in (_ROBOTS, _TDMREP)}
    if not any(bodies.values()):
        yield "  not known here: documents named single works, and their text is in the folder of the ledger only"
        return
    said = [*_in_robots(bodies[_ROBOTS], path), *_in_tdmrep(bodies[_TDMREP], path)]
    yield from said or ["  not known: documents named single works, and not this path"]


def _document(ledger: Ledger, entry: Entry, name: str) -> bytes:
    facts = entry.declarations["documents"].get(name)
    return (read_document(ledger, facts["sha256"]) if facts else None) or b""


def _in_robots(body: bytes, path: str) -> Iterator[str]:
    """Yield the Content-Usage line for a path: of those with a pattern that matches, the longest counts."""
    groups = robots_file.groups_of(robots_file.parse_lines(robots_file.split_lines(body, "replace")), as_google=False)
    lines = [line.value.partition(" ") for line in robots_file.lines_for_all(groups, "content-usage")]
    fitting = [
        (pattern, said) for pattern, _, said in lines if pattern[:1] == "/" and robots_file.matches(pattern, path)
    ]
    if fitting:
        pattern, said = max(fitting, key=lambda each: len(each[0]))
        yield f"  declared in {_ROBOTS} for {pattern}: Content-Usage: {said}"


def _in_tdmrep(body: bytes, path: str) -> Iterator[str]:
    fitting = first_match(read_entries(body), path)
    if fitting is not None and fitting.reserved is not None and fitting.location != "/":
        yield f"  declared in {_TDMREP} for {fitting.location}: tdm-reservation: {int(fitting.reserved)}"


def _write_documents(ledger: Ledger, entry: Entry, folder: Path) -> None:
    for path, facts in entry.declarations["documents"].items():
        body = read_document(ledger, facts["sha256"])
        file = folder / normal_path(path).lstrip("/")
        if body is None:
            click.echo(f"note: {printable(path)} is not kept here; use the folder of the ledger", err=True)
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
        except OSError as error:
            raise unwritable(error) from error
        click.echo(f"wrote   {click.format_filename(file)}")
