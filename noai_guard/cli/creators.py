"""noai-guard creators: invite creators to their page, and keep their wishes."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from noai_guard.cli.console import CannotRun, on_terminal, terminal_width, unwritable
from noai_guard.cli.options import SOCKET_ADDRESS, FileName, chosen_policy, name_policy, policy_name, policy_option
from noai_guard.cli.output_files import replaceable
from noai_guard.core.policy import Policy
from noai_guard.core.text import CONTROL_CHARACTERS, table
from noai_guard.creators import DEFAULT_DATABASE, DEFAULT_KEYS, NOTICE_DAYS, database_of, notice_of
from noai_guard.socket_address import SocketAddress

if TYPE_CHECKING:
    from noai_guard.creators.keys import Keys
    from noai_guard.stores.invitations import Invitation
    from noai_guard.stores.wish_table import WishTable

_MAX_DAYS = 3650
_MAX_NAME = 200

_database_option = click.option(
    "--database", metavar="ADDRESS",
    help=f"sqlite:///FILE or postgresql://...  [default: wishes: of the policy, else {DEFAULT_DATABASE}]",
)  # fmt: skip
_keys_option = click.option(
    "--keys", "key_file", type=FileName(), metavar="FILE", default=DEFAULT_KEYS, show_default=True,
    help="The keys that sign links; NOAI_CREATORS_KEY comes before it.",
)  # fmt: skip
_by_option = click.option(
    "--by", default="the site", show_default=True, metavar="NAME", help="Who says so, for the record."
)
_notice_option = click.option(
    "--notice", type=click.IntRange(0, _MAX_DAYS), metavar="DAYS",
    help=f"After how many days a wish that loosens holds.  [default: notice: of the ledger, else {NOTICE_DAYS}]",
)  # fmt: skip


def _name(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    for text in value if isinstance(value, tuple) else (value,):
        if text is not None and (not 0 < len(text.strip()) <= _MAX_NAME or CONTROL_CHARACTERS.search(text)):
            raise click.BadParameter(f"{text!r} is no name; write 1 to {_MAX_NAME} characters")
    return value


@click.group("creators")
def command() -> None:
    """Let creators decide about their works: invite them to their page, and keep what they wish.

    \b
    Examples:
      noai-guard creators invite 'Night Ferry' --work harbour-lights --work slow-tide
      noai-guard creators serve --policy noai.yaml
      noai-guard creators import catalogue.csv
      noai-guard creators list
      noai-guard creators export --out catalogue.csv
      noai-guard creators revoke 'Night Ferry'
    """


@command.command("invite")
@click.argument("creator", callback=_name)
@click.option("--work", "works", multiple=True, metavar="NAME", callback=_name,
              help="A work of the creator, as works: of the policy names it; repeatable.")  # fmt: skip
@click.option(
    "--days", type=click.IntRange(1, _MAX_DAYS), default=90, show_default=True, help="How long the link works."
)
@click.option("--page", "address", metavar="URL", help="Where the page is.  [default: /creators/ at site.url]")
@_by_option
@_database_option
@_keys_option
@policy_option
def invite(
    creator: str, works: Sequence[str], days: int, address: str | None, by: str, database: str | None, key_file: str,
    policy_file: str | None,
) -> None:  # fmt: skip
    """Print a personal link for a creator. Whoever has it acts as the creator, so send it to nobody else.

    It can be opened as often as needed until it expires or is revoked. Earlier links go on working. The file with keys
    is made if it is not there.

    \b
    Examples:
      noai-guard creators invite 'Night Ferry' --work harbour-lights --days 365
      noai-guard creators invite Ada --page https://creators.music.example/
    """
    policy = chosen_policy(policy_file)
    page = _page_address(policy, address)
    if any("/" in work for work in works):
        raise CannotRun(
            "--work is the name of a work, not a path; write what stands for {work} in works: of the policy"
        )
    with _opened(policy, database) as wishes:
        from noai_guard.core.wishes import Choice
        from noai_guard.stores.invitations import Invitations
        from noai_guard.stores.wish_table import Row

        keys = _keys(key_file)
        now = datetime.now(UTC)
        with wishes.writing() as writer:
            known = {row.work for row in writer.about(creator, works)}
            writer.add(
                Row(creator, work, Choice.UNSET, set_by=by, set_at=now, since=now.date())
                for work in dict.fromkeys(works)
                if work not in known
            )
        invitation = Invitations(wishes.database).add(creator, by, now, now + timedelta(days=days))
        click.echo(f"{page}open?t={keys.link_token(invitation)}")
        if not wishes.works(creator, limit=1):
            click.echo(f"note: no work of {creator} is known yet; --work or creators import adds some", err=True)
        click.echo(f"invitation {invitation.id} of {creator}, until {invitation.expires:%Y-%m-%d}", err=True)
    name_policy(policy_file)


def _page_address(policy: Policy, address: str | None) -> str:
    address = address or (f"{policy.site.url.rstrip('/')}/creators/" if policy.site.url else "")
    if urlsplit(address).scheme not in ("https", "http") or not urlsplit(address).netloc:
        raise CannotRun("where is the page? write --page https://..., or site: {url: ...} in the policy")
    return f"{address.rstrip('/')}/"


@command.command("list")
@click.option("--creator", callback=_name, help="Only this one.")
@_database_option
@policy_option
def list_creators(creator: str | None, database: str | None, policy_file: str | None) -> None:
    """List the creators with their works and invitations.

    \b
    Example:
      noai-guard creators list
    """
    with _opened(chosen_policy(policy_file), database) as wishes:
        from noai_guard.stores.invitations import Invitations

        invitations: dict[str, list[Invitation]] = {}
        for invitation in Invitations(wishes.database).all():
            invitations.setdefault(invitation.creator, []).append(invitation)
        works = dict(wishes.creators())
    if creator is not None and creator not in works and creator not in invitations:
        raise _unknown(creator)
    now = datetime.now(UTC)
    names = sorted({*works, *invitations}) if creator is None else [creator]
    rows = []
    for name in names:
        states = [f"{each.id} {_state(each, now)}" for each in invitations.get(name, ())]
        rows.append((name, str(works.get(name, 0)), ", ".join(states) or "none"))
    if not rows:
        click.echo("no creator is known; noai-guard creators invite begins", err=True)
    elif on_terminal():
        header, *lines = table([("creator", "works", "invitations"), *rows], terminal_width())
        click.secho(header, bold=True)
        for line in lines:
            click.echo(line)
    else:
        for row in rows:
            click.echo("\t".join(row))
    name_policy(policy_file)


def _state(invitation: "Invitation", now: datetime) -> str:
    if invitation.revoked is not None:
        return f"revoked on {invitation.revoked:%Y-%m-%d}"
    return f"{'until' if invitation.holds(now) else 'ended on'} {invitation.expires:%Y-%m-%d}"


@command.command("import")
@click.argument("file", type=FileName())
@click.option("--creator", default="", metavar="NAME", help="Whose works they are where a line names nobody.")
@click.option("--dry-run", is_flag=True, help="Say what would be added; add nothing.")
@_by_option
@_notice_option
@_database_option
@policy_option
def import_file(
    file: str, creator: str, dry_run: bool, by: str, notice: int | None, database: str | None, policy_file: str | None
) -> None:
    """Add the works and wishes of a catalogue.

    It is a CSV file. If there is a mistake, nothing is added, and every
    mistake is listed by line.

    An empty cell says nothing, so that what a creator has chosen stays. A wish that loosens holds after --notice days;
    for a first import of what was agreed long ago, write --notice 0. The work * stands for all works of its creator.

    \b
    Examples:
      noai-guard creators import catalogue.csv --dry-run
      noai-guard creators import catalogue.csv --by 'Example Records'
    """
    policy = chosen_policy(policy_file)
    days = notice_of(policy, notice)
    with _opened(policy, database) as wishes:
        from noai_guard.config.wish_catalogue import WishCatalogue
        from noai_guard.creators.imports import import_lines

        try:
            lines = WishCatalogue(file, policy.works).lines(creator)
        except OSError as error:
            raise CannotRun(f"{file} cannot be read: {error.strerror or error}; name a CSV file") from None
        with wishes.writing() as writer:
            added = import_lines(
                writer, lines, set_by=by, now=datetime.now(UTC), notice=days, only_look=dry_run
            )  # fmt: skip
    would = "would be " if dry_run else ""
    click.echo(
        f"{len(lines)} lines: {added.works} works {would}new; {added.now} choices {would}in force at once, "
        f"{added.later} after {days} days or on their day"
    )
    name_policy(policy_file)


@command.command("export")
@click.option("--creator", default="", metavar="NAME", help="Only of this one.")
@click.option("--format", "form", type=click.Choice(("csv", "json")), default="csv", show_default=True,
              help="csv: what is in force today, as a catalogue; json: every choice that was ever made.")  # fmt: skip
@click.option("--out", metavar="FILE", type=FileName(), help="Write it there.  [default: standard output]")
@_database_option
@policy_option
def export(creator: str, form: str, out: str | None, database: str | None, policy_file: str | None) -> None:
    """Write the works and wishes to a file.

    As a catalogue that `wishes:` and `creators import` read, or whole, as JSON.

    \b
    Examples:
      noai-guard creators export --out catalogue.csv
      noai-guard creators export --creator 'Night Ferry' --format json
    """
    with _opened(chosen_policy(policy_file), database) as wishes:
        from noai_guard.creators.catalogue import catalogue_lines
        from noai_guard.creators.exports import facts_of, json_lines

        if creator and not any(wishes.rows(creator)):
            raise _unknown(creator)
        now = datetime.now(UTC)
        if form == "csv":
            lines = catalogue_lines(wishes, now.date(), creator)
        else:
            rows = map(facts_of, wishes.rows(creator))
            lines = json_lines({"exported_at": now.isoformat(timespec="seconds")}, {"history": rows})
        if out is None:
            for line in lines:
                click.echo(line, nl=False)
        else:
            _write(Path(out), lines)
            click.echo(f"wrote {click.format_filename(out)}", err=True)
    name_policy(policy_file)


def _unknown(creator: str) -> CannotRun:
    return CannotRun(f"nothing is known of {creator}; noai-guard creators list shows all", exit_code=1)


def _write(file: Path, lines: Iterator[str]) -> None:
    """Write a file that only its owner can read, all or nothing."""
    partial = replaceable(file).with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.writelines(lines)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise unwritable(OSError(error.errno, error.strerror), file) from None


@command.command("revoke")
@click.argument("creator", callback=_name)
@click.option("--invitation", "number", type=click.IntRange(1), help="Only this one, as `list` numbers it.")
@_database_option
@policy_option
@click.pass_context
def revoke(ctx: click.Context, creator: str, number: int | None, database: str | None, policy_file: str | None) -> None:
    """Revoke links, and end their sessions.

    All links of the creator, or one. What was wished stays.

    Exit code 0 if a link was revoked, 1 if there was none.

    \b
    Examples:
      noai-guard creators revoke 'Night Ferry'
      noai-guard creators revoke 'Night Ferry' --invitation 12
    """
    with _opened(chosen_policy(policy_file), database) as wishes:
        from noai_guard.stores.invitations import Invitations

        revoked = Invitations(wishes.database).revoke(creator, datetime.now(UTC), number or 0)
    click.echo(
        f"revoked: {revoked}"
        if revoked
        else f"{creator} has no such link that works; noai-guard creators list shows all"
    )
    name_policy(policy_file)
    ctx.exit(0 if revoked else 1)


@command.command("key")
@click.option("--keys", "key_file", type=FileName(), metavar="FILE", default=DEFAULT_KEYS, show_default=True,
              help="Where it is kept.")  # fmt: skip
def key(key_file: str) -> None:
    """Make a new key to sign links.

    It is put before those of a file, which is made if it is not there; only its owner can read it. New links are
    signed with the first key, and links of all keys work. To withdraw a key, and with it every link that it signed,
    delete its line. Restart the page after either.

    \b
    Example:
      noai-guard creators key
    """
    number = _add_key(key_file)
    click.echo(f"{key_file}: {number} key{'s' * (number != 1)}, the new one first")


@command.command("serve")
@click.option("--listen", "address", type=SOCKET_ADDRESS, metavar="ADDRESS", default="127.0.0.1:8090",
              show_default=True, help="HOST:PORT (port 0 for any), [IPv6]:PORT or unix:/path.")  # fmt: skip
@click.option("--texts", metavar="FILE", type=FileName(), help="Your own texts of the page, for another language.")
@click.option("--events", metavar="FOLDER", type=FileName(),
              help="The folder of event files: who came.  [default: that of the policy]")  # fmt: skip
@click.option("--ledger", metavar="FOLDER", type=FileName(),
              help="The folder of the ledger: what will change.  [default: that of the policy]")  # fmt: skip
@_notice_option
@_database_option
@_keys_option
@policy_option
def serve(
    address: SocketAddress, texts: str | None, events: str | None, ledger: str | None, notice: int | None,
    database: str | None, key_file: str, policy_file: str | None,
) -> None:  # fmt: skip
    """Serve the creators' page.

    Put a proxy with TLS before it: browsers keep its cookie only over https.

    The policy is read again when it changes. SIGTERM and Ctrl-C stop it in order.

    Exit codes: 0 stopped by a signal; 2 usage, or something that cannot be used; 3 could not start.

    \b
    Examples:
      noai-guard creators serve --policy noai.yaml
      noai-guard creators serve --listen unix:/run/noai/creators.sock --events /var/log/noai
    """
    from importlib.util import find_spec

    from noai_guard.creators import app
    from noai_guard.errors import MissingExtra
    from noai_guard.server.sockets import BoundSocket, CannotListen

    if any(find_spec(module) is None for module in ("h11", "httptools", "uvicorn")):
        raise MissingExtra("serve", "noai-guard creators serve")
    if policy_file is not None:
        chosen_policy(policy_file)  # Its mistakes are named before a key is made.
    try:
        page = app(
            policy_file,
            database=database,
            keys=_keys(key_file),
            texts=texts,
            ledger=ledger,
            visits=events,
            notice=notice,
        )
        bound = BoundSocket(address)
    except ValueError as error:
        raise CannotRun(str(error)) from None
    except CannotListen as error:
        raise CannotRun(str(error), exit_code=3) from None
    from noai_guard.server.simple import serve_until_signalled

    started = f"noai-guard: the creators' page at {bound.address}, policy {policy_name(policy_file)}"
    try:
        serve_until_signalled(page, bound.socket, lambda: click.echo(started, err=True))
    finally:
        bound.remove()


@contextmanager
def _opened(policy: Policy, database: str | None) -> "Iterator[WishTable]":
    from noai_guard.stores.wish_table import WishTable

    try:
        wishes = WishTable.at(database_of(policy, database))
    except ValueError as error:
        raise CannotRun(f"{'--database' if database else 'the database'}: {error}") from None
    try:
        yield wishes
    finally:
        wishes.database.close()


def _keys(file: str) -> "Keys":
    from noai_guard.creators.keys import ENVIRONMENT, read_keys

    if ENVIRONMENT not in os.environ and not os.path.lexists(file):
        _add_key(file)
        click.echo(f"made {file}: keep it secret, and where the page runs", err=True)
    return read_keys(file)


def _add_key(file: str) -> int:
    from noai_guard.creators.keys import add_key

    try:
        return add_key(file)
    except OSError as error:
        raise CannotRun(f"{file} cannot be written: {error.strerror}; choose another place with --keys") from None
