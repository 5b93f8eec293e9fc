"""The documentation of the audit agrees with the code."""

import re
import ssl
from pathlib import Path

import pytest
from click.testing import CliRunner

from noai_guard.audit.checks import RULES
from noai_guard.audit.finding import Rule
from noai_guard.audit.probe.result import CLIENTS
from noai_guard.cli import main
from noai_guard.cli.audit import command
from tests.audit import findings_page
from tests.audit.faults import at, both, line, served_to_ai
from tests.audit.live_site import served

FINDINGS = findings_page.PAGE.read_text()
HOW_TO = (findings_page.PAGE.parents[1] / "how-to" / "audit.md").read_text()


def test_the_reference_of_findings_is_up_to_date() -> None:
    assert findings_page.page() == FINDINGS, "python -m tests.audit.findings_page writes it"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_finding_has_an_anchor_in_the_reference(rule: Rule) -> None:
    assert FINDINGS.count(f"\n### {rule.code}\n") == 1


def test_every_option_is_in_the_how_to_and_every_option_there_exists() -> None:
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    said = set(re.findall(r"--[a-z][a-z-]+", HOW_TO)) - {"--no-impersonate"}
    assert said == options - {"--impersonate"}


def test_every_impersonated_client_is_named_in_the_how_to_and_in_the_help() -> None:
    said = " ".join((HOW_TO + str(command.help)).split())
    for client in CLIENTS:
        assert said.count(client.name) >= 1


def test_the_example_in_the_how_to_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    fault = both(served_to_ai, at("*", line("X-Robots-Tag", "googlebot: noarchive, noai")))
    with served(fault, context) as url:
        output = CliRunner().invoke(main, ["audit", url, "--delay", "0"]).stdout
    (example,) = re.findall(r"```text\n(.*?)```", HOW_TO, re.DOTALL)
    assert output.replace(url, "https://music.example") == example
