"""noai-guard agents: the catalogue, and what the policy does with each agent."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from noai_guard.cli.agents_add import add
from noai_guard.cli.console import CannotRun, on_terminal, terminal_width
from noai_guard.cli.options import chosen_policy, name_policy, policy_option
from noai_guard.config import load_catalog
from noai_guard.core.catalog import Catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Agent, Usage
from noai_guard.core.text import did_you_mean, table

_USAGES = [usage.value for usage in Usage if usage not in (Usage.UNKNOWN_BOT, Usage.NAMELESS)]
_HEADER = ("name", "operator", "usages", "robots.txt", "action", "status")


class _ListByDefault(click.Group):
    """Group whose command `list` is run unless another one is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] == ["add"] else ["list", *args])


@click.group("agents", cls=_ListByDefault, add_help_option=False)
def command() -> None:
    """List the known agents, or add one of your own."""


command.add_command(add)


@command.command("list")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--usage", "usages", multiple=True, type=click.Choice(_USAGES),
              help="Only agents of this usage; repeatable.")  # fmt: skip
@click.option("--operator", help="Only agents of this operator.")
@click.option("--ai/--no-ai", "ai", default=None, help="Only AI agents, or only others.")
@click.option("--format", "style", type=click.Choice(["table", "json", "csv"]), default="table",
              help="table is fitted to a terminal; in a pipe it is tab-separated, without a header.")  # fmt: skip
@policy_option
def list_agents(
    names: Sequence[str],
    usages: Sequence[str],
    operator: str | None,
    ai: bool | None,
    style: str,
    policy_file: str | None,
) -> None:
    """List the known agents: name, operator, usages, robots.txt token, action under the policy, status.

    With a NAME, as in the catalogue or in robots.txt, show everything that is known about that agent. The site's own
    agents are among them; `noai-guard agents add --help` says how to add one.

    The action is the one for a request of /. An agent marked * has no user agent of its own: its action is declared in
    robots.txt, and cannot be enforced.

    \b
    Examples:
      noai-guard agents --ai
      noai-guard agents GPTBot
      noai-guard agents --usage train-ai --usage scraper --format csv > refused.csv
      noai-guard agents --operator google --policy noai.yaml
    """
    decisions = DecisionTable(chosen_policy(policy_file), load_catalog())
    catalog = decisions.catalog
    if operator is not None and operator.lower() not in map(str.lower, catalog.operators):
        hint = did_you_mean(operator, catalog.operators) or "noai-guard agents lists them"
        raise CannotRun(f"no operator is called {operator!r}; {hint}")
    named = {agent.name for name in names for agent in _called(name, catalog)}
    path_class = decisions.path_classes["/"]
    facts = [
        _facts(agent, decisions.verdict(agent, path_class).action)
        for agent in sorted(catalog.agents, key=lambda agent: agent.name.lower())
        if (not named or agent.name in named)
        and (not usages or not set(usages).isdisjoint(agent.usages))
        and (operator is None or agent.operator.lower() == operator.lower())
        and (ai is None or agent.ai is ai)
    ]
    if style == "json":
        click.echo(json.dumps(facts, indent=2))
    elif style == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow((*_HEADER, "enforceable"))
        writer.writerows((*_row(fact, mark=""), "yes" if fact["enforceable"] else "no") for fact in facts)
    elif names:
        for fact in facts:
            for line in _details(fact):
                click.echo(line)
    elif on_terminal():
        header, *lines = table([_HEADER, *map(_row, facts)], terminal_width())
        click.secho(header, bold=True)
        for line, fact in zip(lines, facts, strict=True):
            click.secho(line, fg="red" if fact["action"] in ("deny", "license_required", "throttle") else None)
        only_declared = any(not fact["enforceable"] for fact in facts)
        click.echo(f"{len(facts)} agents" + ("; * declared, not enforceable" if only_declared else ""))
    else:
        for row in map(_row, facts):
            click.echo("\t".join(row))
    name_policy(policy_file)


def _called(name: str, catalog: Catalog) -> list[Agent]:
    """Return the agents of a name, of the catalogue or of robots.txt. Raises CannotRun if nobody has it."""
    agents = [agent for agent in catalog.agents if agent.name.lower() == name.lower()]
    agents = agents or [agent for agent in catalog.agents if name.lower() in map(str.lower, agent.all_robots_tokens)]
    if not agents:
        hint = did_you_mean(name, [agent.name for agent in catalog.agents]) or "noai-guard classify reads user agents"
        raise CannotRun(f"no agent is called {name!r}; {hint}")
    return agents


def _details(facts: dict[str, Any]) -> Iterator[str]:
    yield click.style(facts["name"], bold=True)
    action = facts["action"] if facts["enforceable"] else f"{facts['action']}, declared only: no user agent of its own"
    rows = {
        "operator": facts["operator"],
        "usages": ", ".join(facts["usages"]),
        "user agent": ", ".join(facts["user_agent"]),
        "networks": ", ".join(facts["networks"]),
        "headers": ", ".join(facts["headers"]),
        "robots.txt": ", ".join(facts["robots_txt"]),
        "obeys it": facts["rfc9309_compliance"] if facts["robots_txt"] else "",
        "action": action,
        "status": f"{facts['status']}, {facts['trigger']}",
        "note": facts["note"],
    }
    yield from (f"  {name:<11}{value}" for name, value in rows.items() if value)


def _facts(agent: Agent, action: str) -> dict[str, Any]:
    return {
        "name": agent.name,
        "operator": agent.operator,
        "usages": agent.usages,
        "ai": agent.ai,
        "robots_txt": agent.all_robots_tokens,
        "user_agent": agent.expected_user_agent,
        "networks": [str(network) for network in agent.networks],
        "headers": [f"{each.name}: {' or '.join(each.words) or 'present'}" for each in agent.headers],
        "action": action,
        "enforceable": agent.is_recognisable,
        "status": agent.status,
        "trigger": agent.trigger,
        "rfc9309_compliance": agent.rfc9309_compliance,
        "note": agent.note,
    }


def _row(facts: dict[str, Any], mark: str = "*") -> tuple[str, ...]:
    usages, tokens = ", ".join(facts["usages"]), ", ".join(facts["robots_txt"])
    action = facts["action"] + ("" if facts["enforceable"] else mark)
    return facts["name"], facts["operator"], usages, tokens, action, facts["status"]
