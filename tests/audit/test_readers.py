"""The audit parses robots.txt, headers, pages and documents, and no input makes it fail."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jwm.robotstxt.googlebot import RobotsMatcher

from noai_guard.audit import statements
from noai_guard.audit.checks import findings
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import CLIENTS, ClientResponses, Licence, Observations, ProbeResult, Resource
from noai_guard.audit.readers import header_values, rsl, tdmrep
from noai_guard.audit.readers.header_values import Fault
from noai_guard.audit.readers.html import read_page
from noai_guard.audit.readers.robots import RobotsFile
from noai_guard.audit.readers.xml import Unreadable, enclosures, read_elements
from noai_guard.config import load_catalog

CATALOG = load_catalog()
SITE = "https://band.example"
FILES = sorted((Path(__file__).parents[1] / "declarations" / "robots").iterdir())
NAMES = ("Googlebot", "GPTBot", "CCBot", "Spider", "AI")
PATHS = ("/", "/a.mp3", "/private/x", "/search?q=1", "/caf%C3%A9")
google = RobotsMatcher()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_googles_own_parser_allows_whom_our_reading_allows(file: Path) -> None:
    robots = RobotsFile(file.read_bytes())
    for name in NAMES:
        for path in PATHS:
            expected = google.OneAgentAllowedByRobots(file.read_bytes(), name, SITE + path)
            assert robots.google_allows(name, SITE + path) is expected, (name, path)


ROBOTS_LINES = st.sampled_from([
    "User-agent: *", "User-agent: Googlebot", "User-agent: GPTBot/1.0", "user-agent:ccbot # x", "Useragent: AI2Bot", "",
    "Disallow: /", "Disallow:", "Allow: /", "Disallow: /private", "Allow: /private/x", "Disallow: /*.mp3$", "# c",
    "Content-Signal: ai-train=no", "Content-Usage: /a train-ai=n", "License: https://a.invalid/l.xml", "Crawl-delay: 1",
    "Sitemap: https://a.invalid/s.xml", "Dissallow: /a", "Disallow /search", "nonsense", "User-agent:",
])  # fmt: skip


@settings(deadline=None)
@given(st.lists(ROBOTS_LINES, max_size=14))
def test_googles_own_parser_agrees_on_any_groups(lines: list[str]) -> None:
    body = "\n".join(lines).encode()
    robots = RobotsFile(body)
    for name in NAMES:
        for path in PATHS:
            assert robots.google_allows(name, SITE + path) is google.OneAgentAllowedByRobots(body, name, SITE + path)


@pytest.mark.parametrize(("text", "said", "faults"), [
    ("train-ai=n", {"train-ai": False}, []),
    ("train-ai=n, ai-use=n, search=y", {"train-ai": False, "ai-use": False, "search": True}, []),
    ("train-ai=y, train-ai=n", {"train-ai": False}, []),
    ("train-ai=n;why=law", {"train-ai": False}, []),
    ("other=1, train-ai=n", {"train-ai": False}, []),
    ("Train-AI=n", {}, [Fault.SYNTAX]),
    ("train-ai=n,", {}, [Fault.SYNTAX]),
    ("train-ai: n", {}, [Fault.SYNTAX]),
    ("train-ai=N", {}, [Fault.VALUE]),
    ("train-ai=no", {}, [Fault.VALUE]),
    ('search="n"', {}, [Fault.VALUE]),
    ("train-ai", {}, [Fault.VALUE]),
    ("train-ai=n; search=y", {"train-ai": False}, [Fault.VALUE]),
    ("train-genai=n", {}, [Fault.KEY]),
    ("ai-train=n", {}, [Fault.KEY]),
    ("\xe9", {}, [Fault.SYNTAX]),
])  # fmt: skip
def test_content_usage_says_what_the_drafts_say(text: str, said: dict[str, bool], faults: list[Fault]) -> None:
    value = header_values.content_usage_value(text)
    assert (value.preferences, [fault for fault, _ in value.faults]) == (said, faults)


@pytest.mark.parametrize(("text", "said", "faults"), [
    ("search=yes, ai-train=no", {"search": True, "train-ai": False}, []),
    ("search=yes,ai-train=no,use=reference", {"search": True, "train-ai": False}, []),
    ("ai-input=no", {"ai-use": False}, []),
    ("future=1", {}, []),
    ("ai-train=n", {}, [Fault.VALUE]),
    ("use=everything", {}, [Fault.VALUE]),
    ("train-ai=no", {}, [Fault.KEY]),
    ("ai-train=no; search=yes", {}, [Fault.SYNTAX]),
    ("ai-train=disallow, search=allow", {}, [Fault.VALUE, Fault.VALUE]),
])  # fmt: skip
def test_content_signals_say_what_the_policy_says(text: str, said: dict[str, bool], faults: list[Fault]) -> None:
    value = header_values.content_signal_value(text)
    assert (value.preferences, [fault for fault, _ in value.faults]) == (said, faults)


@pytest.mark.parametrize(("lines", "meant", "is_read"), [
    (["noai, noimageai"], True, True),
    (["noindex, noai"], True, True),
    (["noai", "googlebot: noarchive"], True, True),
    (["googlebot: noarchive, noai"], True, False),
    (["unavailable_after: 25 Jun 2030 15:00:00 GMT, noai"], True, False),
    (["noai, max-snippet:20"], True, False),
    (["noimageai"], False, False),
    (["noarchive"], False, False),
    ([], False, False),
])  # fmt: skip
def test_noai_is_read_on_a_line_without_a_colon(lines: list[str], meant: bool, is_read: bool) -> None:
    words = header_values.robots_directives(lines)
    assert (words.reserve_training, bool(words.plain)) == (meant, is_read)


@pytest.mark.parametrize(("value", "targets"), [
    ('</l.xml>; rel="license"; type="application/rsl+xml"', [("/l.xml", "application/rsl+xml")]),
    ('<a>; rel=next, <b>; rel="license foo"', [("b", "")]),
    ('<a>; title="x, <c>; rel=license"; rel=license', [("a", "")]),
    ("nonsense", []),
    ("<a>", []),
])  # fmt: skip
def test_links_to_a_licence_are_read_out_of_link(value: str, targets: list[tuple[str, str]]) -> None:
    assert list(header_values.links([value], "license")) == targets


@pytest.mark.parametrize(("lines", "path", "said"), [
    (["train-ai=n"], "/x", {"train-ai": False}),
    (["train-ai=n", "/open/ train-ai=y"], "/open/x", {"train-ai": True}),
    (["/open/ train-ai=y", "train-ai=n"], "/open/x", {"train-ai": True}),
    (["train-ai=y", "train-ai=n, search=y"], "/x", {"train-ai": False, "search": True}),
    (["/never/ train-ai=n"], "/x", {}),
])  # fmt: skip
def test_of_content_usage_lines_the_longest_path_counts_and_of_the_same_the_strictest(
    lines: list[str], path: str, said: dict[str, bool]
) -> None:
    robots = RobotsFile(
        "\n".join(["User-agent: *", "Allow: /", *(f"Content-Usage: {line}" for line in lines)]).encode()
    )
    assert statements.content_usage(robots.lines_for_all("content-usage"), path) == said


def test_what_may_not_be_crawled_has_no_preference() -> None:
    robots = RobotsFile(b"User-agent: *\nDisallow: /x\nContent-Usage: train-ai=n\n")
    assert [s.usage for s in statements.from_robots(robots, f"{SITE}/y", ())] == ["train-ai"]
    assert not list(statements.from_robots(robots, f"{SITE}/x", ()))


def test_the_first_matching_entry_of_tdmrep_counts_and_shadowed_ones_are_seen() -> None:
    entries = tdmrep.read_entries(
        b'[{"location": "/a/*.mp3$", "tdm-reservation": 0}, {"location": "/a", "tdm-reservation": 1},'
        b' {"location": "/a/b", "tdm-reservation": 0}, {"location": "*", "tdm-reservation": 1}]'
    )
    matches = [tdmrep.first_match(entries, path) for path in ("/a/x.mp3", "/a/b", "/z")]
    assert matches == [entries[0], entries[1], entries[3]]
    assert [entry.reserved for entry in entries] == [False, True, False, True]
    assert [(late.location, early.location) for late, early in tdmrep.shadowed(entries)] == [("/a/b", "/a")]


RSL = '<rsl xmlns="https://rslstandard.org/rsl"><content url="/"><license>{}</license></content>{}</rsl>'


@pytest.mark.parametrize(("terms", "more", "said"), [
    ('<permits type="usage">all</permits>', "", {"train-ai": True, "ai-use": True, "search": True}),
    ('<prohibits type="usage">ai-train</prohibits>', "", {"train-ai": False}),
    ('<permits type="usage">search</permits>', "", {"train-ai": False, "ai-use": False, "search": True}),
    ('<permits type="usage">all</permits><prohibits type="usage">ai-all</prohibits>', "",
     {"train-ai": False, "ai-use": False, "search": True}),
    ('<permits type="user">education</permits>', "", {}),
    ('<prohibits type="usage">all</prohibits>',
     '<content url="/a"><license><permits type="usage">ai-train</permits></license></content>',
     {"train-ai": True, "ai-use": False, "search": False}),
])  # fmt: skip
def test_of_an_rsl_document_the_narrowest_content_counts_and_permits_is_a_closed_list(
    terms: str, more: str, said: dict[str, bool]
) -> None:
    assert rsl.RslFile(RSL.format(terms, more).encode()).preferences(f"{SITE}/a.mp3") == said


def test_audio_is_found_wherever_a_page_may_have_it() -> None:
    page = read_page(
        """<base href="/m/"><audio src="1.mp3"></audio><audio><source src=2.ogg></audio><source type=audio/x src=3>
        <a href="4.FLAC?x=1">x</a><a href=no.pdf>x</a><meta property="og:audio" content="5">
        <script type="application/ld+json">[{"@type": "AudioObject", "contentUrl": "6"}]</script>
        <link rel="alternate" type="application/rss+xml" href="/feed"><audio src="javascript:x"></audio>""",
        f"{SITE}/x/",
    )
    assert {url.rpartition("/")[2] for url in page.audio} == {"1.mp3", "2.ogg", "3", "4.FLAC?x=1", "5", "6"}
    assert all(url.startswith(f"{SITE}/m/") for url in page.audio)
    assert page.feeds == [f"{SITE}/feed"]


def test_audio_is_found_in_feeds_also_where_only_their_beginning_was_read() -> None:
    rss = b'<rss><channel><item><enclosure url="http://a/1.mp3" type="audio/mpeg"/></item><item><enclos'
    atom = b'<feed xmlns="http://www.w3.org/2005/Atom"><link rel="enclosure" href="http://a/2.mp3"/></feed>'
    assert enclosures(rss) == ["http://a/1.mp3"]
    assert enclosures(atom) == ["http://a/2.mp3"]
    assert enclosures(b"no feed") == []


@given(st.binary(max_size=300))
def test_any_bytes_are_xml_or_unreadable(body: bytes) -> None:
    with contextlib.suppress(Unreadable):
        assert read_elements(body)
    assert isinstance(enclosures(body), list)


LINES = st.lists(st.tuples(
    st.sampled_from(["X-Robots-Tag", "Content-Usage", "Content-Signal", "tdm-reservation", "tdm-policy", "Link", "Vary",
                     "Content-Type", "Cache-Control", "Location", "ETag"]),
    st.sampled_from(["noai", "a: noai", "train-ai=n", "ai-train=yes", "1", "0", "text/html", "<x>; rel=license", "*"])
    | st.text(st.characters(max_codepoint=255), max_size=30),
), max_size=6).map(tuple)  # fmt: skip
FRAGMENTS = ["User-agent: *\n", "Disallow: /\n", "Content-Usage: ", "train-ai=n", "<html>", "<meta name=robots content=noai>",
             '[{"location": "/", "tdm-reservation": 1}]', '<rsl xmlns="https://rslstandard.org/rsl">', "<content url='['>",
             "</rsl>", '<script type="application/ld+json">{"@type":["AudioObject",3]}</script>', "<title>captcha</title>",
             "datatrainingallowed=", "yes\n", "\x00", "\ufeff"]  # fmt: skip
BODIES = st.binary(max_size=60) | st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(
    lambda parts: "".join(parts).encode()
)


@st.composite
def results(draw: st.DrawFn) -> ProbeResult:
    status = draw(st.sampled_from([0, 200, 206, 302, 304, 401, 403, 404, 429, 500, 503]))
    url = draw(st.sampled_from([f"{SITE}/", f"{SITE}/a.mp3?b=c", "http://127.0.0.1:8000", "https://[::1]/x"]))
    problem = "" if status else "no answer"
    return ProbeResult(url, url, status=status, headers=draw(LINES), body=draw(BODIES), problem=problem)


MAYBE = st.none() | results()
RESOURCES = st.builds(Resource, results(), MAYBE, MAYBE, MAYBE)
OBSERVATIONS = st.builds(
    Observations,
    page=RESOURCES, robots=results(), audio=st.none() | RESOURCES, audio_robots=MAYBE, not_found=MAYBE, markdown=MAYBE,
    documents=st.dictionaries(st.sampled_from(["/.well-known/tdmrep.json", "/ai.txt", "/trust.txt"]), results()),
    licences=st.lists(st.builds(Licence, st.sampled_from(["", "Link"]), results()), max_size=2).map(tuple),
    policy_pages=st.lists(results(), max_size=2).map(tuple),
    client_responses=st.lists(
        st.builds(ClientResponses, st.sampled_from(CLIENTS), results(), MAYBE, MAYBE, st.lists(results(), max_size=1).map(tuple)),
        max_size=4,
    ).map(tuple),
    without_user_agent=st.lists(results(), max_size=2).map(tuple),
)  # fmt: skip


@settings(max_examples=500 if os.environ.get("NOAI_FULL") else 40, deadline=None)
@given(OBSERVATIONS)
def test_any_observations_give_findings_in_order(observations: Observations) -> None:
    found = findings(Interpretation(observations, CATALOG))
    assert [finding.rule.severity.rank for finding in found] == sorted(finding.rule.severity.rank for finding in found)
    assert all(finding.url for finding in found)


@pytest.mark.parametrize(
    "text", ["<![", "<![x", "<![x]>", "<![CDATA[x]]>", "<![if !IE]>", "<![endif]>", "<![temp[x]]>", "<![]>"]
)
def test_what_follows_a_marked_section_is_read_as_browsers_read_it(text: str) -> None:
    page = read_page(f'{text}><meta name="robots" content="noai"><![endif]>', SITE)
    assert page.contents("robots") == ["noai"]
    assert page.problem == ""


DOCTYPES = ["<!DOCTYPE r>", "<!DOCTYPE r [<!ENTITY a 'b'>]>", "<!DOCTYPE r [<!ATTLIST r a CDATA 'b'>]>", "<!DOCTYPE r SYSTEM 'x'>",
            "<!DOCTYPE r [<!ENTITY % a 'b'> %a;]>"]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
@pytest.mark.parametrize("doctype", DOCTYPES)
def test_xml_with_a_document_type_is_not_read(doctype: str, encoding: str) -> None:
    body = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}<r><enclosure url="/a.mp3"/></r>'.encode(encoding)
    with pytest.raises(Unreadable, match="DOCTYPE"):
        read_elements(body)
    assert enclosures(body) == []


def test_a_bomb_of_default_attributes_takes_no_memory() -> None:
    import tracemalloc

    body = b"<!DOCTYPE r [<!ATTLIST e a CDATA '" + b"x" * 400_000 + b"'>]><r>" + b"<e/>" * 19_000 + b"</r>"
    tracemalloc.start()
    with contextlib.suppress(Unreadable):
        read_elements(body)
    enclosures(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


PIECES = st.sampled_from([
    "<!", "<![", "<![CDATA[", "<!--", "-->", "--!>", "<?", "</", "<", ">", "]]>", "&", "&#x", ";", '"', "'", "=", "/", "\0", "\r",
    "<!DOCTYPE ", "[", "]", "<script>", "</script>", "<title>", "<meta name=robots content=noai>", "<base href=", "http://[", "%",
    "<rsl xmlns='https://rslstandard.org/rsl'>", "<content url=", "{", "}", ":", ",", "1e999", "\ud800", "\ufeff", "\x80", "a", " ",
])  # fmt: skip
STRANGE = st.lists(PIECES | st.text(max_size=8), max_size=40).map("".join)


@settings(deadline=None, max_examples=300)
@given(STRANGE, st.sampled_from(["utf-8", "utf-16", "utf-7", "latin-1"]))
def test_no_bytes_make_a_parser_raise(text: str, encoding: str) -> None:
    body = text.encode(encoding, "replace")
    page = read_page(text, SITE)
    assert page.problem == ""
    assert isinstance(page.json_ld_objects, list)
    with contextlib.suppress(Unreadable):
        rsl.RslFile(body).preferences(SITE)
    enclosures(body)
    tdmrep.read_entries(body)
    robots = RobotsFile(body)
    robots.disallows("GPTBot", SITE + "/" + text.encode("ascii", "ignore").decode())
    line = body[:8000].decode("latin-1")
    header_values.content_usage_value(line)
    header_values.content_signal_value(line)
    header_values.robots_directives([line])
    header_values.tdm_reservation(line)
    list(header_values.links([line], "license"))


def test_a_parser_that_fails_is_a_finding_and_never_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise AssertionError("we should not get here!")

    monkeypatch.setattr("html.parser.HTMLParser.goahead", fails)
    monkeypatch.setattr("protego.Protego.parse", fails)
    monkeypatch.setattr("noai_guard.audit.checks.tdmrep.check", fails)
    page = ProbeResult(SITE, SITE, status=200, headers=(("Content-Type", "text/html"),), body=b"<p>")
    robots = ProbeResult(f"{SITE}/robots.txt", f"{SITE}/robots.txt", status=200, body=b"User-agent: *\nDisallow: /\n")
    found = findings(Interpretation(Observations(Resource(page), robots), CATALOG))
    failures = {(finding.url, finding.detail) for finding in found if finding.rule.code == "A005"}
    reason = "we should not get here!"
    assert failures == {(SITE, reason), (robots.url, reason), (SITE, f"AssertionError: {reason}")}
