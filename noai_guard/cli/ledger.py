"""noai-guard ledger: every version of the policy, dated and signed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click

from noai_guard.cli import ledger_at
from noai_guard.cli.console import CannotRun, unwritable
from noai_guard.cli.ledger_keys import KEY_FILE, key_in_force, public_key
from noai_guard.cli.ledger_source import (
    FOLDER,
    counted,
    current_time,
    ledger_option,
    lines_of,
    read_ledger,
    settings_of,
    source_of,
    warn_if_damaged,
)
from noai_guard.cli.options import DEFAULT_POLICY, FileName, chosen_policy, policy_option
from noai_guard.cli.timestamps import authorities_option, timestamp_option, trusted_authorities
from noai_guard.config import catalog_of, check_policy_text
from noai_guard.core.policy import LedgerPolicy, Policy
from noai_guard.core.text import printable
from noai_guard.record.history import state_of, title_of
from noai_guard.record.ledger import Entry, Ledger, iso
from noai_guard.record.ledger_keys import SigningKey, new_key
from noai_guard.record.publishing import Draft, Signing, draft, publish, rotation
from noai_guard.record.verification import chain_problems, problems_of

_key_option = click.option(
    "--key", "key_file", metavar="FILE", type=FileName(), default=KEY_FILE, show_default=True,
    envvar="NOAI_LEDGER_KEY", help="The private key (NOAI_LEDGER_KEY). It belongs on no web server, and not into git.",
)  # fmt: skip
_author_option = click.option(
    "--author", required=True, envvar="NOAI_LEDGER_AUTHOR", metavar="NAME",
    help="Who promises this, for the public (NOAI_LEDGER_AUTHOR).",
)  # fmt: skip


@click.group("ledger")
def command() -> None:
    """Publish each version of the policy, dated and signed, and show what was promised when.

    \b
    Examples:
      noai-guard ledger init --author 'Ines Rivera, Night Ferry Records'
      noai-guard ledger publish --author 'Ines Rivera, Night Ferry Records'
      noai-guard ledger log
      noai-guard ledger at 2026-03-01 --path /tracks/x
      noai-guard ledger verify noai-history.json
    """


command.add_command(ledger_at.command)


@command.command("init")
@_author_option
@_key_option
@timestamp_option
@policy_option
def init(author: str, key_file: str, authority: str, policy_file: str | None) -> None:
    """Begin a ledger: make a key, publish the policy as it is, and name both in noai.yaml.

    From then on the guard compares the policy that it loads with the ledger, and a looser one has to be announced.
    Put the folder noai-ledger into git and beside the policy on the web server; keep the key elsewhere.
    """
    if policy_file is None:
        raise CannotRun("there is no noai.yaml here; noai-guard init writes one, --policy names one elsewhere")
    policy = chosen_policy(policy_file)
    settings = policy.ledger or LedgerPolicy(str(Path(policy_file).parent / FOLDER))
    folder = Path(settings.folder)
    if any(folder.glob("*.json")):
        raise CannotRun(f"{settings.folder} is there already; noai-guard ledger publish adds to a ledger")
    now, promised, catalog = current_time(), replace(policy, ledger=settings), catalog_of(policy)
    with _made_key(key_file, "--key", folder, 1) as key:
        by = Signing(author, key, now, authority=authority)
        entry = _published(folder, promised, None, draft(promised, catalog, None, now), by)
    click.echo(f"wrote   {click.format_filename(entry)}  the first entry")
    click.echo(f"wrote   {click.format_filename(key_file)}  the private key: not into git, not on a web server")
    _name_in(Path(policy_file), policy, settings, key.name)
    if any((folder / ".git").exists() for folder in Path(key_file).resolve().parents):
        click.echo(
            f"keep the key out of git: echo {click.format_filename(Path(key_file).name)} >> .gitignore", err=True
        )


@contextmanager
def _made_key(file: str, option: str, folder: Path, number: int) -> Iterator[SigningKey]:
    """Make a key in a new file, and remove it again if the entry that names it was not written. Raises CannotRun."""
    try:
        key = new_key(Path(file))
    except FileExistsError:
        raise CannotRun(f"{file} is there already; name a new file with {option}") from None
    except OSError as error:
        raise unwritable(error, file) from error
    try:
        yield key
    except BaseException:
        if not (folder / f"{number:04}.json").exists():
            Path(file).unlink(missing_ok=True)
        raise


def _name_in(file: Path, policy: Policy, settings: LedgerPolicy, key: str) -> None:
    """Add the ledger to a policy file, if it can be added at its end; else say what to write."""
    line = f"ledger: {{folder: ./{FOLDER}, notice: {settings.notice}, key: '{key}'}}\n"
    text = file.read_bytes()
    longer = text + (b"" if text.endswith(b"\n") or not text else b"\n") + line.encode()
    read, _ = check_policy_text(longer, str(file))
    if policy.ledger is None and read is not None and read.ledger is not None:
        file.write_bytes(longer)
        click.echo(f"added   {click.format_filename(file)}  {line}", nl=False)
    else:
        click.echo(f"write this into {click.format_filename(file)}:\n{line}", nl=False)


@command.command("publish")
@_author_option
@click.option("--correction", "reason", metavar="REASON", help="Take effect at once, and say why in public.")
@click.option("--dry-run", is_flag=True, help="Only say what would be published.")
@_key_option
@timestamp_option
@policy_option
def publish_command(
    author: str, reason: str | None, dry_run: bool, key_file: str, authority: str, policy_file: str | None
) -> None:
    """Publish the policy as it is now.

    What is stricter than before holds at once. What loosens a reservation of an AI usage is announced, and takes effect
    when the notice of the policy is over; --correction "REASON" makes it take effect at once, and the reason stands in
    the public history. A new catalogue of programs is recorded, without delay.
    """
    if reason is not None and not reason.strip():
        raise CannotRun("--correction needs a reason, for the public; write it in quotes")
    policy, settings, ledger = _own_ledger(policy_file)
    catalog, now = catalog_of(policy), current_time()
    drafted = draft(policy, catalog, ledger, now, reason is not None)
    if drafted.kind is None:
        click.echo(f"nothing to publish: entry {ledger.head.number} says the same")
        return
    _show(drafted, now)
    if dry_run:
        return
    by = Signing(author, key_in_force(key_file, ledger), now, reason or "", authority)
    entry = _published(Path(settings.folder), policy, ledger, drafted, by)
    click.echo(f"wrote   {click.format_filename(entry)}")


@command.command("rotate")
@_author_option
@click.option("--new-key", "new_file", required=True, metavar="FILE", type=FileName(), help="Where to write it.")
@_key_option
@timestamp_option
@policy_option
def rotate(author: str, new_file: str, key_file: str, authority: str, policy_file: str | None) -> None:
    """Make a new key, and sign with the old one that it signs from now on."""
    policy, settings, ledger = _own_ledger(policy_file)
    old = key_in_force(key_file, ledger)
    promised = ledger.head.policy(policy)
    with _made_key(new_file, "--new-key", Path(settings.folder), ledger.head.number + 1) as new:
        by = Signing(author, old, current_time(), authority=authority, new_key=new)
        entry = _published(Path(settings.folder), promised, ledger, rotation(ledger, by.now), by)
    click.echo(f"wrote   {click.format_filename(entry)}")
    click.echo(f"wrote   {click.format_filename(new_file)}  the new private key; the old one signs nothing any more")
    click.echo(f"from now on write --key {click.format_filename(new_file)}, or set NOAI_LEDGER_KEY to it", err=True)


@command.command("verify")
@click.argument("source", required=False, type=FileName())
@click.option(
    "--key",
    "key",
    metavar="KEY",
    help="The first public key: ed25519:..., or a file with it.  [default: as the policy says]",
)
@click.option("--against", metavar="PATH", type=FileName(), help="An older copy: all its entries have to be there.")
@authorities_option
@policy_option
@click.pass_context
def verify(
    ctx: click.Context,
    source: str | None,
    key: str | None,
    against: str | None,
    authorities: str | None,
    policy_file: str | None,
) -> None:
    """Find every entry that was changed, dropped, reordered or back-dated.

    SOURCE is the folder of a ledger or its public copy (/.well-known/noai-history.json of the site). Whoever keeps a
    copy can also find out that all of it was written anew: --against COPY.
    """
    settings = settings_of(policy_file)
    if key is None and source is None and settings:
        key = settings.key
    elif key is not None:
        key = public_key(key)
    ledger = read_ledger(source_of(source, settings))
    trusted = trusted_authorities(authorities)
    problems = problems_of(ledger, key or "", current_time(), read_ledger(against) if against else None, trusted)
    for problem in problems:
        click.secho(printable(str(problem)), fg="red")
    first, last = ledger.entries[0], ledger.head
    if not key:
        click.echo(f"note: the first key is believed, because none was given: --key {printable(first.key)}", err=True)
    if not problems:
        span = f"{first.time.date()} to {last.time.date()}"
        number = counted(len(ledger.entries))
        click.secho(f"{number}, {span}: whole, in order and signed. Last: {last.hash}", fg="green")
    ctx.exit(int(bool(problems)))


@command.command("log")
@click.option("--oneline", is_flag=True, help="One line for each entry.")
@ledger_option
@policy_option
@click.pass_context
def log(ctx: click.Context, oneline: bool, source: str | None, policy_file: str | None) -> None:
    """Show all entries, the newest first."""
    settings = settings_of(policy_file)
    ledger = read_ledger(source_of(source, settings))
    promised = ledger.promised(current_time())
    for entry in reversed(ledger.entries):
        for line in _oneline(entry) if oneline else _full(entry, ledger, state_of(entry, ledger, promised)):
            click.echo(printable(line))
    ctx.exit(warn_if_damaged(ledger, settings))


def _oneline(entry: Entry) -> Iterator[str]:
    yield f"{entry.hash[:10]} {entry.time.date()} {title_of(entry)}: {'; '.join(entry.changes) or 'no changes'}"


def _full(entry: Entry, ledger: Ledger, state: str) -> Iterator[str]:
    yield f"entry {entry.number} {entry.hash} ({state})"
    yield f"Author:    {entry.author}"
    yield f"Date:      {iso(entry.time)}{', timestamped' if entry.data.get('timestamp') else ''}"
    at_once = entry.effective > entry.time and not ledger.waits(entry)
    before = "at once; what was announced before waits until " if at_once else ""
    yield f"Effective: {before}{iso(entry.effective)}"
    yield f"Key:       {entry.key}"
    yield ""
    yield f"    {title_of(entry)}"
    for line in (*([entry.reason] if entry.reason else []), *entry.changes):
        yield f"    {line}{' (looser)' if line in entry.loosening else ''}"
    yield ""


def _own_ledger(policy_file: str | None) -> tuple[Policy, LedgerPolicy, Ledger]:
    """Return the policy with its ledger, which has to be whole before anything is added to it."""
    policy = chosen_policy(policy_file)
    if policy.ledger is None:
        raise CannotRun(f"{policy_file or DEFAULT_POLICY} names no ledger; noai-guard ledger init begins one")
    ledger = read_ledger(policy.ledger.folder)
    if problems := tuple(chain_problems(ledger, policy.ledger.key, current_time())):
        raise CannotRun(lines_of(problems), exit_code=1)
    return policy, policy.ledger, ledger


def _show(drafted: Draft, now: datetime) -> None:
    for change in drafted.changes:
        looser = change.loosens
        click.secho(f"{'looser' if looser else '':<8}{printable(change.text)}", fg="yellow" if looser else None)
    if not drafted.changes:
        click.echo("        no changes but those of the catalogue")
    if drafted.effective > now:
        which = "what is looser" if drafted.loosening else "what is looser, here or announced before,"
        click.echo(f"what is stricter holds at once, {which} from {iso(drafted.effective)}")


def _published(folder: Path, policy: Policy, ledger: Ledger | None, drafted: Draft, by: Signing) -> Path:
    try:
        return publish(folder, policy, catalog_of(policy), ledger, drafted, by)
    except OSError as error:
        raise unwritable(error, folder) from error
