"""Every finding, on a real server that is broken in one place."""

from collections import Counter

import pytest

from noai_guard.audit.checks import RULE_GROUPS, RULES
from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.probe.result import Observations
from tests.audit.faults import BROKEN, PLAIN, accepts_gzip, at, both, gzipped, page, robots
from tests.audit.live_site import PAGE, Fault, SiteRequest, SiteResponse, audited, good, served

Audited = tuple[Observations, dict[str, list[Finding]]]
HTTP = "A309"
ONLY_OVER_TLS = {"A427"}
BY_A_FAULT_OF_A_PARSER = {"A005"}


@pytest.fixture(scope="module")
def repaired() -> Audited:
    """Audit the site without a fault."""
    with served() as url:
        return audited(url)


def test_a_site_that_does_everything_right_has_no_finding_but_that_it_is_not_https(repaired: Audited) -> None:
    observations, findings = repaired
    assert set(findings) == {HTTP}
    assert observations.audio is not None
    assert observations.page.conditional
    assert observations.page.conditional.status == 304
    assert [responses.page.status for responses in observations.client_responses] == [200, 200, 200, 200, 403, 403]


@pytest.mark.parametrize(("code", "fault"), BROKEN, ids=[f"{code}-{n}" for n, (code, _) in enumerate(BROKEN)])
def test_a_broken_site_has_the_finding_and_the_repaired_site_has_not(
    code: str, fault: Fault, repaired: Audited
) -> None:
    with served(fault) as url:
        _, findings = audited(url)
    assert code in findings
    assert code == HTTP or code not in repaired[1]
    rule = next(rule for rule in RULES if rule.code == code)
    assert {finding.rule for finding in findings[code]} == {rule}
    assert all(finding.url.startswith("http://") for finding in findings[code])


def test_every_rule_has_a_broken_site() -> None:
    assert {rule.code for rule in RULES} - ONLY_OVER_TLS - BY_A_FAULT_OF_A_PARSER == {code for code, _ in BROKEN}


def test_a_page_that_is_compressed_with_its_metas_has_no_finding(repaired: Audited) -> None:
    with served(at("/", gzipped(PAGE), accepts_gzip)) as url:
        observations, findings = audited(url)
    assert observations.page.compressed
    assert observations.page.compressed.first("content-encoding") == "gzip"
    assert set(findings) == set(repaired[1])


def test_codes_are_unique() -> None:
    counts = Counter(rule.code for group in RULE_GROUPS for rule in group.rules)
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_has_a_title_an_explanation_and_a_fix(rule: Rule) -> None:
    assert isinstance(rule.severity, Severity)
    assert len(rule.title) < 90
    assert not rule.title.endswith(".")
    assert rule.explanation.endswith(".")
    assert rule.fix


def test_a_group_without_a_rule_that_shuts_googlebot_out_is_found_with_its_lines() -> None:
    fault = robots("User-agent: *\nContent-Signal: search=yes, ai-train=no\n\nUser-agent: GPTBot\nDisallow: /\n")
    with served(fault) as url:
        _, findings = audited(url)
    (trap,) = findings["A110"]
    assert trap.line == 1
    assert "User-agent: GPTBot (line 4), so Disallow: / holds for it" in trap.detail
    assert findings["A122"][0].detail == "Googlebot, bingbot, DuckDuckBot"


def test_of_many_findings_of_one_rule_five_are_listed_and_the_others_counted() -> None:
    with served(robots(PLAIN + "Disallow: x\n" * 100)) as url:
        _, findings = audited(url)
    assert len(findings["A123"]) == 5
    assert findings["A123"][-1].omitted == 95


def test_two_faults_are_both_found_and_the_worst_comes_first() -> None:
    fault = both(robots(f"{PLAIN}Content-Usage: train-ai=no\nDisallow: private\n"))
    with served(fault) as url:
        _, findings = audited(url)
    severities = [finding.rule.severity.rank for of_rule in findings.values() for finding in of_rule]
    assert {"A118", "A123"} <= set(findings)
    assert severities == sorted(severities)


def test_audio_is_found_in_the_feed_of_a_page_that_has_none() -> None:
    def feeding(request: SiteRequest, response: SiteResponse) -> SiteResponse:
        if request.path == "/feed.xml":
            feed = b'<rss><channel><item><enclosure type="audio/mpeg" url="/a.mp3"/></item></channel></rss>'
            return SiteResponse(200, (("Content-Type", "application/rss+xml"),), feed)
        return response

    link = '<link rel="alternate" type="application/rss+xml" href="/feed.xml">'
    with served(both(page(('<audio src="/a.mp3"></audio>', link)), feeding)) as url:
        observations, findings = audited(url)
    assert observations.audio
    assert observations.audio.get.url == f"{url}/a.mp3"
    assert set(findings) == {HTTP}


def test_without_an_etag_the_date_is_used_to_ask_again() -> None:
    def dated(request: SiteRequest, response: SiteResponse) -> SiteResponse:
        if "if-modified-since" in request.headers:
            return SiteResponse(304, response.without("content-type").lines)
        return response.without("etag").line("Last-Modified", "Wed, 25 Nov 2026 10:00:00 GMT")

    with served(dated) as url:
        observations, findings = audited(url)
    assert observations.audio
    conditional = (observations.page.conditional, observations.audio.conditional)
    assert [result.status for result in conditional if result] == [304, 304]
    assert set(findings) == {HTTP}


def test_a_site_that_knows_neither_head_nor_ranges_nor_conditions_has_no_finding_for_it() -> None:
    def plain(request: SiteRequest, response: SiteResponse) -> SiteResponse:
        if request.method == "HEAD":
            return SiteResponse(405)
        simple = {name: value for name, value in request.headers.items() if name not in ("range", "if-none-match")}
        return good(SiteRequest(request.method, request.path, simple))

    with served(plain) as url:
        _, findings = audited(url)
    assert set(findings) == {HTTP}


def test_a_meta_with_other_directives_beside_noai_counts() -> None:
    with served(page(("noai, noimageai", "index, max-image-preview:large, noai"))) as url:
        _, findings = audited(url)
    assert set(findings) == {HTTP}
