"""The command line, one module per command.

Exit codes of every command: 0 fine, 1 the answer is no (problems found, files stale, a check failed), 2 the
command could not do its work (usage, a file that cannot be read or written, a policy that cannot be used).
"""

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click
from click.shell_completion import CompletionItem

from noai_guard.cli.console import CannotRun
from noai_guard.core.text import did_you_mean, printable
from noai_guard.errors import Invalid, LimitExceeded, NoAIGuardError, PolicyTooLong
from noai_guard.version import __version__

GROUPS: Mapping[str, Mapping[str, str]] = {
    "Begin": {
        "init": "Write a commented noai.yaml and say what it will refuse.",
        "check": "Find every problem in a noai.yaml.",
        "explain": "Say what one request gets, with every reason.",
        "agents": "List the known agents and what the policy does with them.",
        "classify": "Classify user agents, one a line, as JSON lines.",
    },
    "Declare": {
        "build": "Write robots.txt and the other declarations as files.",
        "tag": "Write the reservation into the tags of audio files.",
    },
    "Enforce": {
        "serve": "Run the guard in front of a site, or beside its proxy.",
        "config": "Write the policy as configuration of a server.",
        "partners": "List licensed partners, and make keys for them.",
        "refresh": "Fetch published networks and the feeds of the policy anew.",
    },
    "Creators": {
        "creators": "Invite creators to their page, and keep their wishes.",
    },
    "Watch": {
        "audit": "Check what a live site declares, and whether it is enforced.",
        "replay": "Say what the policy would have done with yesterday's logs.",
    },
    "Record": {
        "ledger": "Publish each version of the policy, dated and signed.",
        "events": "Show the event log, and remove what is old enough.",
        "report": "Count events: who came, what they were told, tried and got.",
        "evidence": "Pack the events of an operator, with proofs, for a lawyer.",
    },
    "Tools": {
        "files": "List, print or write systemd units, alerts and dashboards.",
        "schema": "Print the JSON Schema of a policy, a catalogue file or an event.",
        "completion": "Print the completion script of a shell.",
        "rules": "Check or compile the catalogue (for contributors).",
    },
}
"""Heading of the help -> command -> its line. `noai_guard.cli.<name>.command` is imported when it is used."""

COMMANDS: Mapping[str, str] = {name: line for commands in GROUPS.values() for name, line in commands.items()}
"""Command -> its line of help."""


class _Commands(click.Group):
    """Group that imports a command's module when it is used, and reports our errors on one line with exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"noai_guard.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            hint = did_you_mean(name, COMMANDS) or "noai-guard --help lists them"
            raise CannotRun(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                # All lines of help begin in one column.
                formatter.write_dl([(name.ljust(width), line) for name, line in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except Invalid as error:
            for problem in error.problems:
                click.echo(printable(str(problem)), err=True)
            ctx.exit(1 if isinstance(error, PolicyTooLong) else 2)
        except NoAIGuardError as error:
            raise CannotRun(str(error), exit_code=1 if isinstance(error, LimitExceeded) else 2) from error
        except getattr(click.exceptions, "NoArgsIsHelpError", ()):
            raise
        except click.UsageError as error:
            raise CannotRun(_usage(error)) from error
        except BrokenPipeError:
            # The reader has closed the pipe, as `head` does: no error, and what is still buffered goes nowhere.
            _discard_output()
            ctx.exit(0)
        except OSError as error:
            # Commands say themselves what is wrong with a file: this is a full disk behind standard output, or a fault.
            _discard_output()
            raise CannotRun(
                f"{error.filename or 'the output'}: {error.strerror or error}; write it elsewhere"
            ) from error


def _usage(error: click.UsageError) -> str:
    """Return a mistake on the command line on one line, with a hint: click's own where it has one."""
    # click lists choices one a line, and begins its guess as a sentence.
    message = " ".join(error.format_message().split()).rstrip(".")
    message = re.sub(r"\.? \(?Did you mean", "; did you mean", message).replace("?)", "?")
    if isinstance(error, click.MissingParameter) and isinstance(option := error.param, click.Option) and option.help:
        message += f" ({option.help.rstrip('.')})"
    path = error.ctx.command_path if error.ctx else "noai-guard"
    return message if "; did you mean" in message else f"{message}; {path} --help shows how"


def _discard_output() -> None:
    """Send what is still buffered nowhere, or Python would report it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_closed_streams() -> None:
    """Open /dev/null for each standard stream that the caller has closed (`>&-`).

    Without it, the next file that is opened would get its number, and what is printed would go into that file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # open as long as the process


@click.group(
    cls=_Commands,
    name="noai-guard",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine; 1 the answer is no, or problems were found; 2 usage, or something cannot be read.",
)
@click.version_option(__version__, prog_name="noai-guard")
def main() -> None:
    """Say no to AI once, in one policy: declared everywhere, enforced, counted.

    \b
    Examples:
      noai-guard init                     write noai.yaml
      noai-guard check                    is it right?
      noai-guard explain --ua 'GPTBot/1.3' --path /tracks/song
      noai-guard agents --ai              who is who
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False
