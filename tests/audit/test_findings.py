"""Every finding, on a real server that is broken in one place."""

from collections import Counter

import pytest

from noai_guard.audit.checks import FAMILIES, KINDS
from noai_guard.audit.finding import Severity
from noai_guard.audit.look import Observations
from tests.audit.faults import BROKEN, PLAIN, both, robots
from tests.audit.live_site import Fault, audited, served

HTTP = "A309"
ONLY_OVER_TLS = {"A427"}


@pytest.fixture(scope="module")
def repaired() -> tuple[Observations, dict[str, list]]:
    """What is found on the site without a fault."""
    with served() as url:
        return audited(url)


def test_a_site_that_does_everything_right_has_no_finding_but_that_it_is_not_https(repaired):
    seen, found = repaired
    assert set(found) == {HTTP}
    assert seen.audio is not None
    assert seen.page.again.status == 304
    assert [visit.page.status for visit in seen.visits] == [200, 200, 200, 200, 403, 403]


@pytest.mark.parametrize(("code", "fault"), BROKEN, ids=[f"{code}-{n}" for n, (code, _) in enumerate(BROKEN)])
def test_a_broken_site_has_the_finding_and_the_repaired_site_has_not(code: str, fault: Fault, repaired):
    with served(fault) as url:
        _, found = audited(url)
    assert code in found
    assert code == HTTP or code not in repaired[1]
    kind = next(kind for kind in KINDS if kind.code == code)
    assert {finding.kind for finding in found[code]} == {kind}
    assert all(finding.url.startswith("http://") for finding in found[code])


def test_every_kind_of_finding_has_a_broken_site():
    assert {kind.code for kind in KINDS} - ONLY_OVER_TLS == {code for code, _ in BROKEN}


def test_codes_are_unique_and_every_kind_is_in_the_table_of_its_family():
    counts = Counter(kind.code for family in FAMILIES for kind in family.kinds)
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_a_kind_says_what_is_so_what_it_means_and_what_to_do(kind):
    assert isinstance(kind.severity, Severity)
    assert len(kind.title) < 90
    assert not kind.title.endswith(".")
    assert kind.means.endswith(".")
    assert kind.fix


def test_the_merge_trap_that_shuts_googlebot_out_is_told_with_its_lines():
    fault = robots("User-agent: *\nContent-Signal: search=yes, ai-train=no\n\nUser-agent: GPTBot\nDisallow: /\n")
    with served(fault) as url:
        _, found = audited(url)
    (trap,) = found["A110"]
    assert trap.line == 1
    assert "User-agent: GPTBot (line 4), so Disallow: / holds for it" in trap.found
    assert found["A122"][0].found == "Googlebot, bingbot, DuckDuckBot"


def test_many_findings_of_one_kind_are_counted_not_told():
    with served(robots(PLAIN + "Disallow: x\n" * 100)) as url:
        _, found = audited(url)
    assert len(found["A123"]) == 5
    assert found["A123"][-1].more == 95


def test_two_faults_are_both_found_and_the_worst_comes_first():
    fault = both(robots(f"{PLAIN}Content-Usage: train-ai=no\nDisallow: private\n"))
    with served(fault) as url:
        _, found = audited(url)
    severities = [finding.kind.severity.rank for findings in found.values() for finding in findings]
    assert {"A118", "A123"} <= set(found)
    assert severities == sorted(severities)
