"""Every finding, on a real server that is broken in one place."""

from collections import Counter

import pytest

from noai_guard.audit.checks import FAMILIES, KINDS
from noai_guard.audit.finding import Severity
from noai_guard.audit.probe.result import Observations
from tests.audit.faults import BROKEN, PLAIN, both, page, robots
from tests.audit.live_site import Answer, Asked, Fault, audited, good, served

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


def test_audio_is_found_in_the_feed_of_a_page_that_has_none():
    def feeding(asked: Asked, answer: Answer) -> Answer:
        if asked.path == "/feed.xml":
            feed = b'<rss><channel><item><enclosure type="audio/mpeg" url="/a.mp3"/></item></channel></rss>'
            return Answer(200, (("Content-Type", "application/rss+xml"),), feed)
        return answer

    link = '<link rel="alternate" type="application/rss+xml" href="/feed.xml">'
    with served(both(page(('<audio src="/a.mp3"></audio>', link)), feeding)) as url:
        seen, found = audited(url)
    assert seen.audio.get.url == f"{url}/a.mp3"
    assert set(found) == {HTTP}


def test_without_an_etag_the_date_is_used_to_ask_again():
    def dated(asked: Asked, answer: Answer) -> Answer:
        if "if-modified-since" in asked.headers:
            return Answer(304, answer.without("content-type").lines)
        return answer.without("etag").line("Last-Modified", "Wed, 25 Nov 2026 10:00:00 GMT")

    with served(dated) as url:
        seen, found = audited(url)
    assert (seen.page.again.status, seen.audio.again.status) == (304, 304)
    assert set(found) == {HTTP}


def test_a_site_that_knows_neither_head_nor_ranges_nor_conditions_has_no_finding_for_it():
    def plain(asked: Asked, answer: Answer) -> Answer:
        if asked.method == "HEAD":
            return Answer(405)
        simple = {name: value for name, value in asked.headers.items() if name not in ("range", "if-none-match")}
        return good(Asked(asked.method, asked.path, simple))

    with served(plain) as url:
        _, found = audited(url)
    assert set(found) == {HTTP}


def test_a_meta_with_other_directives_beside_noai_counts():
    with served(page(("noai, noimageai", "index, max-image-preview:large, noai"))) as url:
        _, found = audited(url)
    assert set(found) == {HTTP}
