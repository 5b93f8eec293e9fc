"""The command line, one module per command.

Exit codes of every command: 0 fine, 1 the answer is no (problems found, files stale, a check failed), 2 the
command could not do its work (usage, a file that cannot be read or written, a policy that cannot be used).
"""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click
from click.shell_completion import CompletionItem

from noai_guard.cli.console import CannotRun
from noai_guard.errors import Invalid, LimitExceeded, NoAIGuardError, PolicyTooLong
from noai_guard.version import __version__

COMMANDS: Mapping[str, str] = {
    "init": "Write a commented noai.yaml and say what it will refuse.",
    "check": "Find every problem in a noai.yaml.",
    "explain": "Say what one request gets, with every reason.",
    "classify": "Classify user agents, one a line, as JSON lines.",
    "agents": "List the known agents and what the policy does with them.",
    "build": "Write robots.txt and the other declarations as files.",
    "config": "Write the policy as configuration of a server.",
    "serve": "Run the guard in front of a site, or beside its proxy.",
    "audit": "Check what a live site declares, and whether it is enforced.",
    "schema": "Print the JSON Schema of a policy or catalogue file.",
    "completion": "Print the completion script of a shell.",
    "rules": "Check or compile the catalogue (for contributors).",
}
"""Command -> its line of help. `noai_guard.cli.<name>.command` is imported when it is used."""


class _Commands(click.Group):
    """Group that imports a command's module when it is used, and reports our errors on one line with exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"noai_guard.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Invalid as error:
            for problem in error.problems:
                click.echo(str(problem), err=True)
            ctx.exit(1 if isinstance(error, PolicyTooLong) else 2)
        except NoAIGuardError as error:
            raise CannotRun(str(error), exit_code=1 if isinstance(error, LimitExceeded) else 2) from error
        except getattr(click.exceptions, "NoArgsIsHelpError", ()):
            raise
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else "noai-guard"
            raise CannotRun(f"{error.format_message().rstrip('.')}; {path} --help shows how") from error
        except BrokenPipeError:
            # The reader has closed the pipe, as `head` does: what is still buffered goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False
