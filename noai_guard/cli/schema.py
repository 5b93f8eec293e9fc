"""noai-guard schema: JSON Schemas with which editors complete and check our files."""

import json

import click

from noai_guard.config.catalogue_schema import agents_schema
from noai_guard.config.policy_schema import policy_schema
from noai_guard.record.event_record import event_schema

SCHEMAS = {"policy": policy_schema, "agent": agents_schema, "event": event_schema}


@click.command("schema")
@click.argument("of", type=click.Choice(list(SCHEMAS)))
def command(of: str) -> None:
    """Print the JSON Schema (2020-12) of a noai.yaml (policy), of a file in rules/agents (agent) or of one line of an
    event log (event).

    \b
    Examples:
      noai-guard schema policy > .vscode/noai.schema.json
      noai-guard schema agent
    """
    click.echo(json.dumps(SCHEMAS[of](), indent=2))
