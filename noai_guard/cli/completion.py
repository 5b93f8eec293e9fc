"""noai-guard completion: completion scripts for shells."""

import click
from click.shell_completion import get_completion_class

from noai_guard.cli.console import CannotRun


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      noai-guard completion bash >> ~/.bash_completion
      noai-guard completion zsh > ~/.zfunc/_noai-guard
      noai-guard completion fish > ~/.config/fish/completions/noai-guard.fish
    """
    completion = get_completion_class(shell)
    if completion is None:
        raise CannotRun(f"this version of click has no completion for {shell}; pip install -U click")
    click.echo(completion(ctx.find_root().command, {}, "noai-guard", "_NOAI_GUARD_COMPLETE").source())
