"""What the audit reads out of robots.txt, headers, pages and documents; and that nothing makes it fall over."""

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
from noai_guard.audit.probe.result import VISITORS, Licence, Observations, ProbeResult, Resource, Visit
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
def test_googles_own_parser_lets_in_whom_our_reading_lets_in(file: Path):
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
def test_googles_own_parser_agrees_on_any_groups(lines: list[str]):
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
def test_content_usage_says_what_the_drafts_say(text, said, faults):
    value = header_values.content_usage_value(text)
    assert (value.said, [fault for fault, _ in value.faults]) == (said, faults)


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
def test_content_signals_say_what_the_policy_says(text, said, faults):
    value = header_values.content_signal_value(text)
    assert (value.said, [fault for fault, _ in value.faults]) == (said, faults)


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
def test_noai_is_read_on_a_line_without_a_colon(lines, meant, is_read):
    words = header_values.robots_directives(lines)
    assert (words.meant, bool(words.plain)) == (meant, is_read)


@pytest.mark.parametrize(("value", "found"), [
    ('</l.xml>; rel="license"; type="application/rsl+xml"', [("/l.xml", "application/rsl+xml")]),
    ('<a>; rel=next, <b>; rel="license foo"', [("b", "")]),
    ('<a>; title="x, <c>; rel=license"; rel=license', [("a", "")]),
    ("nonsense", []),
    ("<a>", []),
])  # fmt: skip
def test_links_to_a_licence_are_read_out_of_link(value, found):
    assert list(header_values.links([value], "license")) == found


@pytest.mark.parametrize(("lines", "path", "said"), [
    (["train-ai=n"], "/x", {"train-ai": False}),
    (["train-ai=n", "/open/ train-ai=y"], "/open/x", {"train-ai": True}),
    (["/open/ train-ai=y", "train-ai=n"], "/open/x", {"train-ai": True}),
    (["train-ai=y", "train-ai=n, search=y"], "/x", {"train-ai": False, "search": True}),
    (["/never/ train-ai=n"], "/x", {}),
])  # fmt: skip
def test_of_content_usage_lines_the_longest_path_counts_and_of_the_same_the_strictest(lines, path, said):
    robots = RobotsFile(
        "\n".join(["User-agent: *", "Allow: /", *(f"Content-Usage: {line}" for line in lines)]).encode()
    )
    assert statements.preference(robots.for_everybody("content-usage"), path) == said


def test_what_may_not_be_crawled_has_no_preference():
    robots = RobotsFile(b"User-agent: *\nDisallow: /x\nContent-Usage: train-ai=n\n")
    assert [s.usage for s in statements.of_robots(robots, f"{SITE}/y", ())] == ["train-ai"]
    assert not list(statements.of_robots(robots, f"{SITE}/x", ()))


def test_the_first_matching_entry_of_tdmrep_counts_and_shadowed_ones_are_seen():
    entries = tdmrep.read_entries(
        b'[{"location": "/a/*.mp3$", "tdm-reservation": 0}, {"location": "/a", "tdm-reservation": 1},'
        b' {"location": "/a/b", "tdm-reservation": 0}, {"location": "*", "tdm-reservation": 1}]'
    )
    assert tdmrep.first_match(entries, "/a/x.mp3").reserved is False
    assert tdmrep.first_match(entries, "/a/b").reserved is True
    assert tdmrep.first_match(entries, "/z").location == "*"
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
def test_of_an_rsl_document_the_narrowest_content_counts_and_permits_is_a_closed_list(terms, more, said):
    assert rsl.read_rsl(RSL.format(terms, more).encode()).said(f"{SITE}/a.mp3") == said


def test_audio_is_found_wherever_a_page_may_have_it():
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


def test_audio_is_found_in_feeds_also_where_only_their_beginning_was_read():
    rss = b'<rss><channel><item><enclosure url="http://a/1.mp3" type="audio/mpeg"/></item><item><enclos'
    atom = b'<feed xmlns="http://www.w3.org/2005/Atom"><link rel="enclosure" href="http://a/2.mp3"/></feed>'
    assert enclosures(rss) == ["http://a/1.mp3"]
    assert enclosures(atom) == ["http://a/2.mp3"]
    assert enclosures(b"no feed") == []


@given(st.binary(max_size=300))
def test_any_bytes_are_xml_or_unreadable(body: bytes):
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
def looks(draw) -> ProbeResult:
    status = draw(st.sampled_from([0, 200, 206, 302, 304, 401, 403, 404, 429, 500, 503]))
    url = draw(st.sampled_from([f"{SITE}/", f"{SITE}/a.mp3?b=c", "http://127.0.0.1:8000", "https://[::1]/x"]))
    problem = "" if status else "no answer"
    return ProbeResult(url, url, status=status, lines=draw(LINES), body=draw(BODIES), problem=problem)


MAYBE = st.none() | looks()
RESOURCES = st.builds(Resource, looks(), MAYBE, MAYBE, MAYBE)
OBSERVATIONS = st.builds(
    Observations,
    page=RESOURCES, robots=looks(), audio=st.none() | RESOURCES, audio_robots=MAYBE, missing=MAYBE, markdown=MAYBE,
    documents=st.dictionaries(st.sampled_from(["/.well-known/tdmrep.json", "/ai.txt", "/trust.txt"]), looks()),
    licences=st.lists(st.builds(Licence, st.sampled_from(["", "Link"]), looks()), max_size=2).map(tuple),
    policies=st.lists(looks(), max_size=2).map(tuple),
    visits=st.lists(
        st.builds(Visit, st.sampled_from(VISITORS), looks(), MAYBE, MAYBE, st.lists(looks(), max_size=1).map(tuple)),
        max_size=4,
    ).map(tuple),
    unnamed=st.lists(looks(), max_size=2).map(tuple),
)  # fmt: skip


@settings(max_examples=500 if os.environ.get("NOAI_FULL") else 40, deadline=None)
@given(OBSERVATIONS)
def test_whatever_was_seen_gives_findings_that_are_in_order(seen: Observations):
    found = findings(Interpretation(seen, CATALOG))
    assert [finding.kind.severity.rank for finding in found] == sorted(finding.kind.severity.rank for finding in found)
    assert all(finding.url for finding in found)
