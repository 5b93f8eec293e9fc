"""noai-guard audit as typed in a shell, against servers on loopback."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog

from noai_guard.audit.checks import RULES
from noai_guard.audit.finding import Finding
from noai_guard.audit.report import sarif
from noai_guard.cli import audit as audit_command
from noai_guard.cli import main
from tests.audit.faults import at, body, both, line, page, robots, status
from tests.audit.live_site import SiteRequest, SiteResponse, served

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp"


def audit(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["audit", *arguments, "--delay", "0"], prog_name="noai-guard")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def broken() -> Iterator[str]:
    """A site with an error, warnings and notes."""
    fault = both(
        robots("User-agent: *\nAllow: /\nContent-Usage: train-ai=no\nDisallow: private\n"), at("/policy", status(404))
    )
    with served(fault) as url:
        yield url


def test_the_text_is_readable_at_80_columns_worst_first_and_ends_with_a_summary(broken: str) -> None:
    lines = audit(broken, code=1).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    headings = [line for line in lines if line.isupper() and not line.startswith(" ")]
    assert headings == ["ERRORS", "WARNINGS", "NOTES", "WHO GETS WHAT"]
    assert re.fullmatch(rf"{broken}/: 1 error, \d warnings, 1 note \(\d\d requests\)\.", lines[-1])
    assert "  A118  A Content-Usage line says something that readers do not know" in lines
    assert "        Fix: Content-Usage: train-ai=n, ai-use=n, search=y" in lines
    assert "\x1b" not in "".join(lines)


def test_colours_are_for_terminals_only(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(main, ["audit", broken, "--delay", "0"], color=True)
    assert "\x1b[31m" in result.stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in CliRunner().invoke(main, ["audit", broken, "--delay", "0"], color=True).stdout


@pytest.mark.parametrize(("fail_on", "code"), [("error", 1), ("warning", 1), ("note", 1), ("never", 0)])
def test_the_exit_code_goes_by_severity(broken: str, fail_on: str, code: int) -> None:
    audit(broken, "--fail-on", fail_on, code=code)


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 0), ("note", 1)])
def test_a_site_with_a_note_only_fails_only_on_notes(fail_on: str, code: int) -> None:
    with served() as url:
        audit(url, "--fail-on", fail_on, code=code)


def test_json_has_everything_that_the_text_has(broken: str) -> None:
    facts = json.loads(audit(broken, "--format", "json", code=1).stdout)
    assert (facts["url"], facts["audio"]) == (f"{broken}/", f"{broken}/a.mp3")
    findings = {finding["code"]: finding for finding in facts["findings"]}
    rules = {rule.code: rule for rule in RULES}
    assert {"A118", "A123", "A309"} <= set(findings)
    for code, finding in findings.items():
        assert finding["severity"] == rules[code].severity
        assert (finding["title"], finding["means"], finding["fix"]) == (
            rules[code].title,
            rules[code].explanation,
            rules[code].fix,
        )
    assert findings["A118"]["line"] == 3
    assert findings["A309"]["line"] is None
    assert {visitor["name"]: visitor["page"] for visitor in facts["visitors"]}["GPTBot"] == 403
    assert {visitor["name"]: visitor["robots_says"] for visitor in facts["visitors"]}["GPTBot"] == "open"


def test_sarif_is_what_the_schema_asks_for_and_leads_to_the_line(broken: str) -> None:
    log = SarifLog.model_validate_json(audit(broken, "--format", "sarif", code=1).stdout)
    run = log.runs[0]
    assert [rule.id for rule in run.tool.driver.rules] == [rule.code for rule in RULES]
    result = next(result for result in run.results if result.ruleId == "A118")
    assert run.tool.driver.rules[result.ruleIndex].id == "A118"
    place = result.locations[0].physicalLocation
    assert (place.artifactLocation.uri, place.region.startLine) == (f"{broken}/robots.txt", 3)


@settings(deadline=None)
@given(st.lists(st.builds(Finding, st.sampled_from(RULES), st.text(max_size=50), st.text(max_size=50),
                          st.integers(0, 9), st.integers(0, 9))))  # fmt: skip
def test_any_findings_make_good_sarif(findings: list[Finding]) -> None:
    log = json.loads(json.dumps(sarif.log(findings)))
    SarifLog.model_validate(log)
    assert all(re.fullmatch(r"[!-~]*", result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
               for result in log["runs"][0]["results"])  # fmt: skip


def test_sarif_with_a_mistake_would_be_refused() -> None:
    log = sarif.log([RULES[0].at("https://a.example/")])
    log["runs"][0]["results"][0]["levels"] = "error"
    with pytest.raises(ValueError, match="levels"):
        SarifLog.model_validate(log)


@pytest.mark.parametrize("style", ["text", "json", "sarif"])
def test_what_a_site_sends_never_reaches_the_terminal_as_it_is(style: str) -> None:
    in_header = ESCAPES.replace("\u202e", "")
    fault = both(
        at("*", line("Content-Usage", f"{in_header}=n")),
        robots(f"User-agent: *\nDisallow: /{ESCAPES}\nDisallow: {ESCAPES}\n"),
        page(("Night Ferry", ESCAPES), ('content="1"', f'content="{ESCAPES}"')),
        at("/.well-known/tdmrep.json", body(f'[{{"location": "{ESCAPES}"}}]')),
    )
    with served(fault) as url:
        output = audit(url, "--format", style, code=1).stdout
    assert {"A123", "A210", "A306", "A401"} <= set(re.findall(r"A\d{3}", output))
    assert all(character.isprintable() or character == "\n" for character in output)


def test_without_impersonation_only_the_audits_own_name_is_used() -> None:
    names: set[str] = set()

    def noting(request: SiteRequest, response: SiteResponse) -> SiteResponse:
        names.add(request.user_agent)
        return response

    with served(noting) as url:
        output = audit(url, "--no-impersonate").stdout
    assert {name.partition("/")[0] for name in names} == {"noai-guard-audit", ""}
    assert "WHO GETS WHAT" not in output


def test_the_audio_may_be_named() -> None:
    with served(page(("/a.mp3", ""))) as url:
        assert "A303" in audit(url).stdout
        facts = json.loads(audit(url, "--audio", f"{url}/a.mp3", "--format", "json").stdout)
    assert facts["audio"] == f"{url}/a.mp3"
    assert "A303" not in {finding["code"] for finding in facts["findings"]}


def test_a_site_that_cannot_be_reached_is_one_line_and_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    result = audit(f"http://127.0.0.1:{port}", code=2)
    assert re.fullmatch(rf"noai-guard: http://127\.0\.0\.1:{port}/ cannot be looked at: Connect.*\n", result.stderr)
    assert result.stdout == ""


@pytest.mark.parametrize("address", [
    "", " ", "ftp://a.example", "https://", "http://a b/", "http://[::1", "a.example:port", "https://a.example:99999",
    "http://a.example/\n", "http://\x1b[31m", "file:///etc/passwd",
])  # fmt: skip
def test_what_is_no_address_is_one_line_and_exit_code_2(address: str) -> None:
    result = audit(address, code=2)
    assert result.stderr.startswith("noai-guard: ")
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr


def test_a_password_in_the_address_is_never_sent() -> None:
    for address in ("https://me:secret@a.example/", "me@a.example"):
        result = audit(address, code=2)
        assert "user name or password" in result.stderr
        assert "secret" not in result.stderr


@pytest.mark.parametrize(("typed", "address"), [
    ("music.example", "https://music.example/"),
    ("music.example:8443/a?b#c", "https://music.example:8443/a?b"),
    ("http://[::1]:8000", "http://[::1]:8000/"),
    ("HTTPS://Music.Example", "https://Music.Example/"),
])  # fmt: skip
def test_an_address_may_be_typed_as_people_do(typed: str, address: str) -> None:
    assert audit_command._address(typed) == address


def test_without_its_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_command, "_EXTRA_MODULES", ("no_such_module",))
    assert audit("music.example", code=2).stderr == (
        "noai-guard: noai-guard audit needs an optional dependency: pip install 'noai-guard[audit]'\n"
    )


def test_help_needs_no_extra_and_names_who_is_impersonated() -> None:
    code = "import sys; sys.modules.update(httpx2=None, protego=None, http_sf=None); from noai_guard.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "audit", "--help"], capture_output=True, text=True, check=True)
    assert "GPTBot and ClaudeBot" in re.sub(r"\s+", " ", done.stdout)


def test_ipv6_is_an_address_like_any_other() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        port = probe.getsockname()[1]
    assert f"http://[::1]:{port}/ cannot be looked at: Connect" in audit(f"http://[::1]:{port}", code=2).stderr
