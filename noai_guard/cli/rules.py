"""noai-guard rules: commands for contributors to the catalogue."""

from collections.abc import Iterator
from pathlib import Path

import click

from noai_guard.cli.options import FileName
from noai_guard.config import compile_rules, rules_folder
from noai_guard.config.build import agent_from
from noai_guard.config.catalogue_schema import read_agent_files, read_browsers, samples_from
from noai_guard.config.policy_schema import STANCES, read_policy
from noai_guard.config.regular_file import read_regular_file
from noai_guard.config.semantic_checks import check_semantics
from noai_guard.config.yaml_nodes import MAX_BYTES
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import AI_USAGES
from noai_guard.errors import Invalid, Problem

_rules_option = click.option(
    "--rules", type=FileName(path_type=Path), metavar="DIR", help="The rules folder; default: the packaged one."
)


@click.group("rules")
def command() -> None:
    """Check or compile the catalogue and the stances (rules/), for contributors."""


@command.command("compile")
@_rules_option
def compile_command(rules: Path | None) -> None:
    """Read rules/agents and rules/policies and write rules/compiled/rules.json, which loads faster.

    \b
    Example:
      noai-guard rules compile
    """
    click.echo(click.format_filename(compile_rules(_existing(rules))))


@command.command("check")
@_rules_option
@click.pass_context
def check_command(ctx: click.Context, rules: Path | None) -> None:
    """Load everything in rules/, match every sample, look-alike and browser, and list every problem.

    \b
    Example:
      noai-guard rules check
    """
    folder = _existing(rules)
    problems = tuple(_problems(folder))
    for problem in problems:
        click.echo(str(problem))
    if not problems:
        click.echo(f"{click.format_filename(folder)}: fine")
    ctx.exit(int(bool(problems)))


def _existing(rules: Path | None) -> Path:
    folder = rules or rules_folder()
    if not (folder / "agents").is_dir():
        raise click.UsageError(f"{click.format_filename(folder)} has no folder agents")
    return folder


def _problems(folder: Path) -> Iterator[Problem]:
    try:
        entries = read_agent_files((folder / "agents").glob("*.yaml"))
    except Invalid as error:
        yield from error.problems
        return
    catalog = Catalog(map(agent_from, entries))
    for entry in entries:
        samples = samples_from(entry)
        for sample in samples.match:
            agent = catalog.find(sample.encode())
            if agent is None or agent.name != samples.agent:
                match = agent.name if agent else "nobody"
                yield Problem("C004", f"{samples.agent}: the sample {sample[:200]!r} is taken for {match}")
        for sample in samples.look_alikes:
            agent = catalog.find(sample.encode())
            if agent is not None and agent.name == samples.agent:
                yield Problem("C005", f"{samples.agent}: the look-alike {sample[:200]!r} is taken for it")
    yield from _browser_problems(folder / "browsers.yaml", catalog)
    for name in STANCES:
        file = folder / "policies" / f"{name}.yaml"
        try:
            declared, log = read_policy(read_regular_file(file, MAX_BYTES + 1), file.name)
        except OSError as error:
            yield Problem("P001", f"cannot be read: {error.strerror}", file=str(file))
            continue
        check_semantics(declared, catalog, log)
        yield from log.problems


def _browser_problems(file: Path, catalog: Catalog) -> Iterator[Problem]:
    if not file.is_file():
        yield Problem("C006", "browsers.yaml is missing", "it holds user agents that must never be refused")
        return
    try:
        groups = read_browsers(file)
    except Invalid as error:
        yield from error.problems
        return
    for group, user_agents in groups.items():
        for user_agent in user_agents:
            agent = catalog.find(user_agent.encode())
            if agent is not None and not AI_USAGES.isdisjoint(agent.usages):
                yield Problem("C006", f"{group}: {user_agent[:200]!r} is taken for {agent.name}", file=file.name)
