"""noai-guard replay: what a policy would have done with the requests of a log."""

import sys
import time
from collections.abc import Sequence

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.options import FileName, chosen_policy, policy_name, policy_option
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import catalog_of
from noai_guard.errors import LogsInvalid
from noai_guard.replay.formats import FORMAT_NAMES
from noai_guard.replay.report import FORMS
from noai_guard.replay.run import Replay, surveyed
from noai_guard.replay.sources import STDIN, Source, empty, unreadable


@click.command("replay")
@click.argument("logs", nargs=-1, required=True, type=FileName(readable=False), metavar="LOG...")
@click.option("--against", metavar="FILE", type=FileName(), help="Another policy, to see what would change.")
@click.option("--format", "style", type=click.Choice(list(FORMS)), default="text", help="[default: text]")
@click.option(
    "--log-format", type=click.Choice(FORMAT_NAMES), help="The format of the logs.  [default: found by their lines]"
)
@click.option(
    "--engine", metavar="MASTER", help="Read and group on a Spark cluster: spark://host:7077, yarn, local[4]."
)
@policy_option
def command(
    logs: Sequence[str],
    against: str | None,
    style: str,
    log_format: str | None,
    engine: str | None,
    policy_file: str | None,
) -> None:
    """Say what the policy would have done with the requests of access logs: whom it would have refused, who is probably
    wronged by that, who is not who it says, and who without a name took many works.

    LOG is a file, also one of gzip, zstd, xz or bzip2, or - for standard input. nginx, Apache, Caddy, HAProxy, Traefik,
    CloudFront, Cloudflare Logpush, AWS ALB, JSON and our own events are told apart by their lines, and so are lines
    with fields in an order of your own. Nothing is asked over the network, and nothing is written but the report. With
    --against, the report says what would be different from that policy.

    \b
    Examples:
      noai-guard replay /var/log/nginx/access.log*
      noai-guard replay access.log --policy stricter.yaml --against noai.yaml
      zcat old/*.gz | noai-guard replay - --format html > report.html
    """
    problems = [] if engine is not None else unreadable(logs)
    if problems:
        raise LogsInvalid(problems)
    files = [policy_file, *([against] if against is not None else [])]
    policies = [chosen_policy(file) for file in files]
    compiled = [CompiledPolicy(policy, catalog_of(policy)) for policy in policies]
    replay = Replay(compiled, [policy_name(file) for file in files], time.time())
    if engine is not None:
        replay.read_on_spark(engine, logs, log_format or "")
    else:
        _read(replay, logs, log_format or "")
    click.echo(FORMS[style](replay.summary()), nl=False)


def _read(replay: Replay, logs: Sequence[str], log_format: str) -> None:
    with _progress(logs) as progress:
        # A single log says so when it is read.
        if len(logs) > 1 and not log_format:
            problems, replay.beside = surveyed(logs)
            if problems:
                raise LogsInvalid(problems)
        for name in logs:
            try:
                replay.read(Source(name, progress.update), log_format)
            except OSError as error:
                raise CannotRun(
                    f"{name} cannot be read: {error.strerror or error}; copy it, and name the copy"
                ) from error
    # One of several that holds nothing has just been rotated.
    if not any(log.format or log.damage for log in replay.logs):
        raise LogsInvalid(map(empty, logs))


def _progress(logs: Sequence[str]) -> "click._termui_impl.ProgressBar[int]":
    """Return a bar on standard error, which is only drawn on a terminal."""
    try:
        size = sum(Source(name).size for name in logs)
    except OSError as error:
        raise CannotRun(f"{error.filename} cannot be read: {error.strerror}; copy it, and name the copy") from error
    hidden = STDIN in logs or not sys.stderr.isatty()
    return click.progressbar(
        length=max(size, 1), label="reading", file=sys.stderr, hidden=hidden, update_min_steps=1 << 20
    )
