"""noai-guard ledger: every version of the policy, dated and signed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from noai_guard.cli.console import CannotRun, unwritable
from noai_guard.cli.ledger_keys import KEY_FILE, key_in_force, public_key
from noai_guard.cli.options import DEFAULT_POLICY, chosen_policy, policy_option
from noai_guard.cli.timestamps import authorities_option, timestamp_option, trusted_authorities
from noai_guard.config import catalog_of, check_policy_text
from noai_guard.core.path_patterns import PathMatcher
from noai_guard.core.paths import normal_path
from noai_guard.core.policy import LedgerPolicy, Policy
from noai_guard.core.stricter import stricter_policy
from noai_guard.core.text import listed, printable
from noai_guard.errors import Problem
from noai_guard.record.history import state_of, title_of, when
from noai_guard.record.ledger import Entry, Ledger, LedgerInvalid, iso
from noai_guard.record.ledger_keys import is_installed, new_key
from noai_guard.record.policy_changes import ACTION_WORDS
from noai_guard.record.publishing import Draft, Signing, draft, publish, rotation
from noai_guard.record.verification import chain_problems, problems_of

FOLDER = "noai-ledger"

_key_option = click.option(
    "--key", "key_file", metavar="FILE", type=click.Path(), default=KEY_FILE, show_default=True,
    envvar="NOAI_LEDGER_KEY", help="The private key (NOAI_LEDGER_KEY). It belongs on no web server, and not into git.",
)  # fmt: skip
_author_option = click.option(
    "--author", required=True, envvar="NOAI_LEDGER_AUTHOR", metavar="NAME",
    help="Who promises this, for the public (NOAI_LEDGER_AUTHOR).",
)  # fmt: skip
_ledger_option = click.option(
    "--ledger", "source", metavar="PATH", type=click.Path(),
    help="The folder of the ledger, or its public copy.  [default: as the policy says, else noai-ledger]",
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
    if Path(settings.folder).exists():
        raise CannotRun(f"{settings.folder} is there already; noai-guard ledger publish adds to a ledger")
    try:
        key = new_key(Path(key_file))
    except FileExistsError:
        raise CannotRun(f"{key_file} is there already; name a new file with --key") from None
    except OSError as error:
        raise unwritable(error, key_file) from error
    now = _now()
    by = Signing(author, key, now, authority=authority)
    promised = replace(policy, ledger=settings)
    catalog = catalog_of(policy)
    entry = _published(Path(settings.folder), promised, None, draft(promised, catalog, None, now), by)
    click.echo(f"wrote   {click.format_filename(entry)}  the first entry")
    click.echo(f"wrote   {click.format_filename(key_file)}  the private key: not into git, not on a web server")
    _name_in(Path(policy_file), policy, settings, key.name)
    if any((folder / ".git").exists() for folder in Path(key_file).resolve().parents):
        click.echo(
            f"keep the key out of git: echo {click.format_filename(Path(key_file).name)} >> .gitignore", err=True
        )


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
    catalog, now = catalog_of(policy), _now()
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
@click.option("--new-key", "new_file", required=True, metavar="FILE", type=click.Path(), help="Where to write it.")
@_key_option
@timestamp_option
@policy_option
def rotate(author: str, new_file: str, key_file: str, authority: str, policy_file: str | None) -> None:
    """Make a new key, and sign with the old one that it signs from now on."""
    policy, settings, ledger = _own_ledger(policy_file)
    old = key_in_force(key_file, ledger)
    promised = ledger.head.policy(policy)
    try:
        new = new_key(Path(new_file))
    except FileExistsError:
        raise CannotRun(f"{new_file} is there already; name a new file with --new-key") from None
    except OSError as error:
        raise unwritable(error, new_file) from error
    by = Signing(author, old, _now(), authority=authority, new_key=new)
    entry = _published(Path(settings.folder), promised, ledger, rotation(ledger, by.now), by)
    click.echo(f"wrote   {click.format_filename(entry)}")
    click.echo(f"wrote   {click.format_filename(new_file)}  the new private key; the old one signs nothing any more")
    click.echo(f"from now on write --key {click.format_filename(new_file)}, or set NOAI_LEDGER_KEY to it", err=True)


@command.command("verify")
@click.argument("source", required=False, type=click.Path())
@click.option(
    "--key",
    "key",
    metavar="KEY",
    help="The first public key: ed25519:..., or a file with it.  [default: as the policy says]",
)
@click.option("--against", metavar="PATH", type=click.Path(), help="An older copy: all its entries have to be there.")
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
    settings = _settings(policy_file)
    if key is None and source is None and settings:
        key = settings.key
    elif key is not None:
        key = public_key(key)
    ledger = _read(_source(source, settings))
    trusted = trusted_authorities(authorities)
    problems = problems_of(ledger, key or "", _now(), _read(against) if against else None, trusted)
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
@_ledger_option
@policy_option
@click.pass_context
def log(ctx: click.Context, oneline: bool, source: str | None, policy_file: str | None) -> None:
    """Show all entries, the newest first."""
    settings = _settings(policy_file)
    ledger = _read(_source(source, settings))
    promised = ledger.promised(_now())
    for entry in reversed(ledger.entries):
        for line in _oneline(entry) if oneline else _full(entry, state_of(entry, promised)):
            click.echo(printable(line))
    ctx.exit(_warn(ledger, settings))


def _oneline(entry: Entry) -> Iterator[str]:
    yield f"{entry.hash[:10]} {entry.time.date()} {title_of(entry)}: {'; '.join(entry.changes) or 'no changes'}"


def _full(entry: Entry, state: str) -> Iterator[str]:
    yield f"entry {entry.number} {entry.hash} ({state})"
    yield f"Author:    {entry.author}"
    yield f"Date:      {iso(entry.time)}{', timestamped' if entry.data.get('timestamp') else ''}"
    yield f"Effective: {iso(entry.effective)}"
    yield f"Key:       {entry.key}"
    yield ""
    yield f"    {title_of(entry)}"
    for line in (*([entry.reason] if entry.reason else []), *entry.changes):
        yield f"    {line}{' (looser)' if line in entry.loosening else ''}"
    yield ""


def _moment(ctx: click.Context, param: click.Parameter, text: str) -> datetime:
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise CannotRun(f"{printable(text)!r} is no day or moment; write 2026-03-01 or 2026-03-01T12:00:00Z")


@command.command("at")
@click.argument("moment", metavar="DATE", callback=_moment)
@click.option("--path", metavar="PATH", help="Only what was promised for this path.")
@click.option("--out", metavar="DIR", type=click.Path(), help="Also write the documents of that day below DIR.")
@_ledger_option
@policy_option
@click.pass_context
def at(
    ctx: click.Context, moment: datetime, path: str | None, out: str | None, source: str | None, policy_file: str | None
) -> None:
    """Say what was promised on DATE (UTC, at its beginning; or 2026-03-01T12:00:00Z).

    While a looser version was announced, the stricter one counts.
    """
    settings = _settings(policy_file)
    ledger = _read(_source(source, settings))
    promised = ledger.promised(moment)
    if not promised:
        first = iso(ledger.entries[0].time)
        raise CannotRun(f"nothing was promised then: the first entry is of {first}", exit_code=1)
    for line in _at(ledger, promised, moment, path):
        click.echo(printable(line))
    if moment > _now():
        click.echo("note: that day is still to come; what is published before it may change this", err=True)
    if out is not None:
        _write_documents(ledger, promised[0], Path(out))
    ctx.exit(_warn(ledger, settings))


def _at(ledger: Ledger, promised: tuple[Entry, ...], moment: datetime, path: str | None) -> Iterator[str]:
    entry = promised[0]
    policies = [each.public_policy for each in promised]
    policy = stricter_policy(policies)
    yield f"{iso(moment)}, by entry {entry.number} of {iso(entry.time)} ({entry.author}), catalogue {entry.catalogue}:"
    if policy.mode.value == "monitor":
        yield "the site only watched: it declared this and refused nobody (mode monitor)"
    sections = policy.all_path_policies
    if path is not None:
        path = normal_path(path)
        where = PathMatcher([section.pattern for section in policy.path_policies]).first(path) + 1
        sections = (sections[where],)
        yield f"{path} is under {sections[0].pattern}"
    for section in sections:
        yield ""
        yield f"{section.pattern}"
        for usage, action in section.usages.items():
            yield f"  {usage:<12} {ACTION_WORDS[action]}"
        for line in entry.declarations["headers"].get(section.pattern, ()):
            yield f"  declared in each response: {line}"
    exempt = PathMatcher(policy.exemptions.paths) if policy.exemptions.paths else None
    if path is not None and exempt and exempt.first(path) >= 0:
        yield "  open to everybody: an exempt path"
    for rule in policy.rules:
        if path is not None and rule.paths and PathMatcher(rule.paths).first(path) < 0:
            continue
        who = listed([*sorted(rule.agents), *sorted(rule.operators), *map(str, rule.usages)]) or "everybody"
        yield f"  rule {rule.id}: {ACTION_WORDS[rule.action]} for {who}"
    yield ""
    for document, facts in entry.declarations["documents"].items():
        yield f"declared in {document}  sha256 {facts['sha256']}"
    for later in promised[1:]:
        changes = "; ".join(later.changes) or "no changes"
        yield f"announced for {iso(later.effective)} by entry {later.number}: {changes}"
    for later in ledger.entries:
        if moment < later.time < moment + timedelta(days=1) and moment.hour == 0:
            yield f"later that day: entry {later.number}, {title_of(later)}. {when(later)}"


def _write_documents(ledger: Ledger, entry: Entry, folder: Path) -> None:
    for path, facts in entry.declarations["documents"].items():
        body = ledger.document(facts["sha256"])
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


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _settings(policy_file: str | None) -> LedgerPolicy | None:
    return chosen_policy(policy_file).ledger if policy_file is not None else None


def _source(source: str | None, settings: LedgerPolicy | None) -> str:
    return source or (settings.folder if settings else FOLDER)


def _read(path: str) -> Ledger:
    try:
        return Ledger.read(path)
    except LedgerInvalid as error:
        raise CannotRun(_lines(error.problems)) from None


def _lines(problems: tuple[Problem, ...]) -> str:
    return "; ".join(map(str, problems[:5]))


def _warn(ledger: Ledger, settings: LedgerPolicy | None) -> int:
    """Say on standard error if the chain is not whole. Return the exit code."""
    if not is_installed():
        click.echo("note: the signatures were not checked: pip install 'noai-guard[record]'", err=True)
        return 0
    problems = tuple(chain_problems(ledger, settings.key if settings else "", _now()))
    if problems:
        click.echo("note: this ledger was damaged or tampered with; noai-guard ledger verify says where", err=True)
    return int(bool(problems))


def counted(entries: int) -> str:
    """Return the number of entries in words: 1 entry, 2 entries."""
    return f"{entries} {'entry' if entries == 1 else 'entries'}"


def _own_ledger(policy_file: str | None) -> tuple[Policy, LedgerPolicy, Ledger]:
    """Return the policy with its ledger, which has to be whole before anything is added to it."""
    policy = chosen_policy(policy_file)
    if policy.ledger is None:
        raise CannotRun(f"{policy_file or DEFAULT_POLICY} names no ledger; noai-guard ledger init begins one")
    ledger = _read(policy.ledger.folder)
    if problems := tuple(chain_problems(ledger, policy.ledger.key, _now())):
        raise CannotRun(_lines(problems), exit_code=1)
    return policy, policy.ledger, ledger


def _show(drafted: Draft, now: datetime) -> None:
    for change in drafted.changes:
        looser = change.loosens
        click.secho(f"{'looser' if looser else '':<8}{printable(change.text)}", fg="yellow" if looser else None)
    if not drafted.changes:
        click.echo("        no changes but those of the catalogue")
    if drafted.effective > now:
        click.echo(f"what is stricter holds at once, what is looser from {iso(drafted.effective)}")


def _published(folder: Path, policy: Policy, ledger: Ledger | None, drafted: Draft, by: Signing) -> Path:
    try:
        return publish(folder, policy, catalog_of(policy), ledger, drafted, by)
    except OSError as error:
        raise unwritable(error, folder) from error
