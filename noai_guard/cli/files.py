"""noai-guard files: what operators need beside the policy, from the installed package."""

from collections.abc import Sequence
from pathlib import Path

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.options import FileName
from noai_guard.cli.output_files import write_files
from noai_guard.core.text import did_you_mean
from noai_guard.resources import FOR_OPERATORS, file_for_operators
from noai_guard.targets.target import File

_NOTES = {
    "noai-guard.service": "systemd unit of noai-guard serve",
    "noai-guard-refresh.service": "systemd unit of noai-guard refresh",
    "noai-guard-refresh.timer": "systemd timer: refresh once a day",
    "noai-guard-prune.service": "systemd unit of noai-guard events prune",
    "noai-guard-prune.timer": "systemd timer: prune the event log once a day",
    "docker-compose.yml": "Prometheus and Grafana, with the files below",
    "prometheus/prometheus.yml": "what Prometheus scrapes",
    "prometheus/alerts.yml": "alerts, with their runbooks",
    "prometheus/recording.yml": "recording rules, for the alerts and the dashboards",
    "grafana/noai-overview.json": "dashboard: who came, and what they got",
    "grafana/noai-agent.json": "dashboard: one operator or agent",
    "grafana/noai-health.json": "dashboard: is the guard well?",
    "grafana-provisioning/datasources/prometheus.yml": "where Grafana finds Prometheus",
    "grafana-provisioning/dashboards/noai-guard.yml": "where Grafana finds the dashboards",
}


@click.command("files")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--out", type=FileName(file_okay=False), metavar="DIR", help="Write them below DIR; all without NAME.")
def command(names: Sequence[str], out: str | None) -> None:
    """List the files for operators: a systemd unit, alerts, dashboards. With a NAME, print that one.

    \b
    Examples:
      noai-guard files
      noai-guard files noai-guard.service > /etc/systemd/system/noai-guard.service
      noai-guard files --out monitoring && docker compose -f monitoring/docker-compose.yml up
    """
    for name in names:
        if name not in FOR_OPERATORS:
            hint = did_you_mean(name, FOR_OPERATORS) or "noai-guard files lists them"
            raise CannotRun(f"there is no file {name!r}; {hint}")
    if out is not None:
        chosen = names or FOR_OPERATORS
        files = [File(name, file_for_operators(name), _NOTES[name]) for name in chosen]
        write_files({Path(out) / file.path: file for file in files}, only_check=False)
    elif names:
        for name in names:
            click.echo(file_for_operators(name), nl=False)
    else:
        width = max(map(len, FOR_OPERATORS))
        for name in FOR_OPERATORS:
            click.echo(f"{name:<{width}}  {_NOTES[name]}")
