"""Recording and alert rules, and the pages that say what to do."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from noai_guard.core.model import Action
from tests.monitoring.programs import ROOT, RULES, promtool
from tests.servers import require, require_program

ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((RULES / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
TESTS = sorted(RULES.glob("*_test.yml"))
NAMES = [alert["alert"] for alert in ALERTS]
RUNBOOKS = "https://noai-guard.example/runbooks/"
"""Where `make docs` puts docs/runbooks, at an address that the operator replaces."""

every_alert = pytest.mark.parametrize("alert", ALERTS, ids=NAMES)


def expectations_of(alert: str) -> list[list[object]]:
    """What is expected of an alert in each test."""
    return [
        expected["exp_alerts"]
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for expected in test["alert_rule_test"]
        if expected["alertname"] == alert
    ]


def test_prometheus_takes_the_configuration() -> None:
    promtool("check", "config", "prometheus.yml")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_keep_quiet_as_described(path: Any) -> None:
    promtool("test", "rules", path.name)


@every_alert
def test_an_alert_is_tested_to_fire_and_to_keep_quiet(alert: dict[str, Any]) -> None:
    expected = expectations_of(alert["alert"])
    assert any(expected)
    assert not all(expected)


@every_alert
def test_an_alert_has_a_severity_a_summary_and_a_page(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["description"].endswith(".")
    assert alert["annotations"]["runbook_url"] == f"{RUNBOOKS}{alert['alert']}/"


@every_alert
def test_the_page_of_an_alert_says_what_it_means_and_what_to_do(alert: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "runbooks" / f"{alert['alert']}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    assert headings == [alert["alert"], "What it means", "Look at", "Do"]


def test_every_page_is_of_an_alert() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert pages - {"README"} == set(NAMES)


def test_the_list_of_pages_has_each_alert_with_its_severity() -> None:
    rows = re.findall(r"\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \|", (ROOT / "docs" / "runbooks" / "README.md").read_text())
    assert sorted(rows) == sorted(
        (name, name, alert["labels"]["severity"]) for name, alert in zip(NAMES, ALERTS, strict=True)
    )


def test_the_address_of_the_pages_is_replaced_as_the_documentation_says(tmp_path: Path) -> None:
    require_program("sed")
    how_to = (ROOT / "docs" / "how-to" / "monitoring.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ *(sed -i .*noai-guard\.example.*)$", how_to, re.MULTILINE)
    shutil.copytree(RULES, tmp_path / "monitoring" / "prometheus")
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, timeout=20)
    alerts = tmp_path / "monitoring" / "prometheus" / "alerts.yml"
    replaced = alerts.read_text(encoding="utf-8")
    assert ".example/" not in replaced.replace("music.example", "")
    assert replaced.count("runbook_url: https://") == len(ALERTS)
    promtool("check", "rules", str(alerts))


def test_rules_and_dashboards_call_the_same_things_refused_and_welcome() -> None:
    require("grafana_foundation_sdk")
    from examples.monitoring.dashboards.shared import REFUSALS, WELCOME

    text = (RULES / "recording.yml").read_text(encoding="utf-8")
    assert set(re.findall(r'action=~"([^"]+)"', text)) == {REFUSALS}
    assert set(re.findall(r'usage=~"([^"]+)"', text)) == {WELCOME}
    assert set(REFUSALS.split("|")) == {Action.THROTTLE, Action.LICENSE_REQUIRED, Action.DENY}


def test_grafana_is_told_of_the_data_source_and_the_dashboards() -> None:
    folder = RULES.parent / "grafana-provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    provider = yaml.safe_load((folder / "dashboards" / "noai-guard.yml").read_text())["providers"][0]
    compose = yaml.safe_load((RULES.parent / "docker-compose.yml").read_text())["services"]["grafana"]
    mounts = dict(mount.split(":")[:2] for mount in compose["volumes"] if mount.startswith("./"))
    assert (source["type"], source["url"]) == ("prometheus", "${NOAI_PROMETHEUS}")
    assert provider["options"]["path"] == "${NOAI_DASHBOARDS}"
    assert mounts["./grafana"] == compose["environment"]["NOAI_DASHBOARDS"]
    assert mounts["./grafana-provisioning"] == "/etc/grafana/provisioning"


def test_the_compose_file_is_one() -> None:
    require("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(RULES.parent / "docker-compose.yml")], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout
