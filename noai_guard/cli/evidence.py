"""noai-guard evidence: the events of an operator and what proves them, in one signed archive; and its verification."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from noai_guard.build_date import today
from noai_guard.cli.console import CannotRun, unwritable
from noai_guard.cli.ledger_keys import KEY_FILE, public_key, refuse_replaced
from noai_guard.cli.ledger_source import FOLDER, counted
from noai_guard.cli.options import FileName, chosen_policy, event_places, events_option, policy_option, say_nobody
from noai_guard.cli.output_files import replaceable
from noai_guard.cli.timestamps import authorities_option, timestamp_option, trusted_authorities
from noai_guard.config import catalog_of
from noai_guard.core.policy import Policy
from noai_guard.core.text import printable
from noai_guard.errors import Problem
from noai_guard.record.event_sources import event_lines
from noai_guard.record.evidence import Case, pack_evidence
from noai_guard.record.evidence_check import EvidenceCheck, verify_evidence
from noai_guard.record.kept_keys import kept_keys
from noai_guard.record.ledger import Ledger, iso
from noai_guard.record.ledger_files import read_ledger
from noai_guard.record.ledger_keys import new_key, read_key
from noai_guard.record.selection import Selection, Span


@click.group("evidence", invoke_without_command=True)
@click.option("--operator", metavar="NAME", help="Whose events to pack: OpenAI")
@click.option("--since", metavar="WHEN", help="First month, day or moment, in UTC: 2026-10.")
@click.option("--until", metavar="WHEN", help="Last month or day, included, or a moment.  [default: now]")
@click.option("--path", default="", metavar="PATTERN", help="Only requests for these paths: /artists/ines/**")
@events_option
@click.option("--ledger", type=FileName(), metavar="DIR",
              help="The site's ledger.  [default: as the policy says, else noai-ledger if it is here]")  # fmt: skip
@click.option("--key", "key_file", type=FileName(), metavar="FILE", default=KEY_FILE, show_default=True,
              envvar="NOAI_LEDGER_KEY", help="The private key to sign with (NOAI_LEDGER_KEY).")  # fmt: skip
@click.option("--out", type=FileName(), metavar="CASE.zip", help="Where to write the archive.")
@timestamp_option
@policy_option
@click.pass_context
def command(
    ctx: click.Context,
    operator: str | None,
    since: str | None,
    until: str | None,
    path: str,
    places: tuple[str, ...],
    ledger: str | None,
    key_file: str,
    out: str | None,
    authority: str,
    policy_file: str | None,
) -> None:
    """Pack the events of an operator, the entries of the ledger that were in force, what was declared, the networks and
    keys by which claims were checked, a report and a README into one archive, signed with an Ed25519 key.

    The key is that of the ledger, or one that `noai-guard evidence new-key` makes for a site without one. The same
    events, ledger, key and day give the same archive, to the byte, but for a timestamp.

    \b
    Examples:
      noai-guard evidence --operator OpenAI --since 2026-10 --out case.zip
      noai-guard evidence --operator OpenAI --since 2026-10 --events noai-events --key evidence.pem --out case.zip
      noai-guard evidence --operator OpenAI --since 2026-10 --timestamp http://timestamp.example/ --out case.zip
      noai-guard evidence verify case.zip --key ed25519:...
    """
    if ctx.invoked_subcommand is not None:
        return
    needed = {"--operator": operator, "--since": since, "--out": out}
    if missing := [name for name, value in needed.items() if not value]:
        raise CannotRun(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; --help shows how")
    assert operator is not None
    assert since is not None
    assert out is not None
    replaceable(Path(out))
    policy = chosen_policy(policy_file)
    site = policy.site
    folders, span = event_places(places, policy), Span.of(since, until, datetime.now(UTC))
    case = Case(
        events=event_lines(folders),
        selection=Selection(span, path, operator),
        site=site.name or site.owner or site.url,
        made=today(),
        catalog=catalog_of(policy).extended(policy.agents),
        key=read_key(Path(key_file)),
        ledger=ledger_of(policy, ledger),
        # A process may use a key for a day before it reads its directory again.
        key_sets=kept_keys(map(Path, folders), (span.since - timedelta(days=1)).date(), span.until.date()),
        authority=authority,
    )
    if case.ledger is not None:
        refuse_replaced(case.key, key_file, case.ledger)
    try:
        report = pack_evidence(case, Path(out))
    except OSError as error:
        raise unwritable(error, out) from error
    click.echo(f"wrote {click.format_filename(out)}: {report.totals.events:,} events, signed by {case.key.name}")
    for note in report.notes:
        click.echo(f"note: {printable(note)}", err=True)
    if case.ledger is None:
        click.echo("note: there is no ledger, so the archive does not show what was declared", err=True)
    if not report.totals.events:
        say_nobody(operator, case.catalog)


@command.command("verify")
@click.argument("case", type=FileName())
@click.option(
    "--key", metavar="KEY|FILE", help="The public key that must have signed it: ed25519:..., or a file with it."
)
@authorities_option
@click.pass_context
def verify(ctx: click.Context, case: str, key: str | None, authorities: str | None) -> None:
    """Say whether the archive CASE is whole: what was packed, by whoever holds the key. Nothing is unpacked.

    Each file of which a byte was changed is named. Its timestamp is compared with the day on which it says that it was
    packed; who gave it is looked at with --authority only. Exit code 0 if the archive is whole, 1 if it is not.

    \b
    Example:
      noai-guard evidence verify case.zip --key ed25519:GSBOhMOTiuPVM2RyTzqBYeMIQG_dAKxd0yMh44XjoJs
    """
    expected, trusted = public_key(key) if key else "", trusted_authorities(authorities)
    try:
        check = verify_evidence(Path(case), expected, trusted)
    except OSError as error:
        hint = "name an archive that noai-guard evidence has packed: case.zip"
        raise CannotRun(str(Problem("E006", f"cannot be read: {error.strerror}", hint, case))) from error
    for problem in check.problems:
        click.echo(f"{printable(case)}: {printable(problem)}")
    if check.problems:
        click.echo(f"{printable(case)} is NOT what was packed; problems: {len(check.problems)}")
    else:
        _print_whole(case, check, key is not None, trusted is not None)
    ctx.exit(int(bool(check.problems)))


@command.command("new-key")
@click.argument("file", type=FileName())
def new(file: str) -> None:
    """Make an Ed25519 key, write it to FILE (which only its owner may read), and print its public name."""
    try:
        key = new_key(Path(file))
    except FileExistsError:
        raise CannotRun(f"{file} exists; choose another name, so that no key is lost") from None
    except OSError as error:
        raise unwritable(error, file) from error
    click.echo(f"wrote {click.format_filename(file)}: keep it secret, and on no web server")
    click.echo(f"its public name, for whoever verifies: {key.name}")


def _print_whole(case: str, check: EvidenceCheck, key_was_named: bool, authority_was_named: bool) -> None:
    manifest = check.manifest
    click.echo(
        f"{printable(case)} is whole: {len(manifest['files']) + 2} files, packed on {printable(str(manifest['made']))}"
    )
    click.echo(f"signed by {manifest['key']}")
    if not key_was_named:
        click.echo("this key is the archive's own word: compare it with what the site says, or give it by --key")
    if authority := manifest.get("timestamp_by"):
        when = iso(check.timestamped) if check.timestamped else "a day that cannot be read without rfc3161-client"
        click.echo(f"timestamped on {when}, as it says by {printable(str(authority))}")
        if not authority_was_named:
            click.echo("whether it was that authority is not looked at: name its certificates by --authority")
    if signing_keys := manifest.get("signing_keys"):
        missing = check.missing_keys
        kept = f"not in the archive: {printable(', '.join(missing))}" if missing else "all in identity/keys.json"
        click.echo(f"keys of operators that signed requests: {len(signing_keys)}, {kept}")
    if check.ledger is not None:
        ledger = check.ledger
        click.echo(
            f"the ledger in it is whole: {counted(len(ledger.entries))}, the first signed by {ledger.entries[0].key}"
        )


def ledger_of(policy: Policy, source: str | None = None) -> Ledger | None:
    """Return the ledger that was named, else that of the policy, else the one in this folder, if there is one."""
    if source is None and policy.ledger is not None:
        source = policy.ledger.folder
    if source is None and Path(FOLDER).is_dir():
        source = FOLDER
    return None if source is None else read_ledger(source)
