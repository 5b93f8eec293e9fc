"""Merging with an app's robots.txt, read before and after by Google's parser and Scrapy's."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.declarations import robots_txt
from noai_guard.declarations.robots_txt import MAX_BYTES, merge
from noai_guard.declarations.shared.robots_file import google_name, lines_of
from noai_guard.declarations.shared.robots_groups import Groups
from tests.cost import function_calls
from tests.declarations.declaration_readers import ROBOTS_FILES, ProtegoReader, google_allows

CATALOG = load_catalog()
STANCE = load_stance("no-ai")
OPEN = {**STANCE.usages, Usage.TRAIN_AI: Action.ALLOW}
CLOSED = {**STANCE.usages, Usage.SEARCH: Action.DENY, Usage.PREVIEW: Action.DENY}


def groups_of(*path_policies: PathPolicy, stance: str = "no-ai") -> Groups:
    return CompiledPolicy(replace(load_stance(stance), path_policies=path_policies), CATALOG).robots_groups


OURS = groups_of()
OTHERS = [groups_of(stance="no-training"), groups_of(stance="search-only"), groups_of(PathPolicy("/press/**", OPEN))]

REFUSED = ("GPTBot", "ClaudeBot", "CCBot", "Bytespider", "Google-Extended", "Applebot-Extended", "PerplexityBot")
ALLOWED = ("Googlebot", "Bingbot", "bingbot", "Baiduspider", "AdsBot-Google", "AhrefsBot", "Twitterbot", "Spotify",
          "Yandex", "Applebot", "SomebodyElse", "Googlebot-Image", "MJ", "Sogou", "Nutch", "wget", "GPT")  # fmt: skip
PATHS = ("/", "/a", "/a/open", "/b", "/c?x=1", "/private/", "/private/open/x", "/drafts/x", "/tracks/1.mp3",
         "/caf%C3%A9/menu", "/index.html", "/search?q=x", "/x", "/y", "/d/open/1", "/w/load.php?")  # fmt: skip


def paths_in(robots: bytes) -> list[str]:
    """Paths that the rules of a file match."""
    rules = re.findall(rb"llow[a-z-]*[ \t]*:?[ \t]*(/[^\s#]{0,60})", robots[:20_000], re.IGNORECASE)
    paths = (rule.decode("ascii", "ignore").replace("*", "x").rstrip("$") for rule in rules[:40])
    return list(dict.fromkeys(paths))


def names_in(robots: bytes) -> list[str]:
    # Google's parser takes `Linguee Bot`, which is refused, for `Linguee`.
    tokens = OURS.tokens | set(map(google_name, OURS.tokens))
    names = re.findall(rb"agents?[ \t]*:?[ \t]*([A-Za-z_-]+)", robots[:20_000], re.IGNORECASE)
    return [name for name in dict.fromkeys(found.decode() for found in names) if name.lower() not in tokens]


def assert_same_meaning(before: bytes, after: bytes, names: Iterable[str], paths: Sequence[str]) -> None:
    protego_before, protego_after = ProtegoReader(before), ProtegoReader(after)
    for name in names:
        for path in paths:
            assert google_allows(after, name, path) is google_allows(before, name, path), (name, path, after)
            assert protego_after.allows(name, path) is protego_before.allows(name, path), (name, path, after)


def assert_site_refused(robots: bytes) -> None:
    protego = ProtegoReader(robots)
    for name in REFUSED:
        for path in ("/", "/tracks/1.mp3", "/private/open/x"):
            assert not google_allows(robots, name, path), name
            assert not protego.allows(name, path), name
        assert google_allows(robots, name, "/.well-known/tdmrep.json")


@pytest.mark.parametrize("file", [file for file in ROBOTS_FILES if file.stem != "utf-16"], ids=lambda file: file.stem)
def test_a_real_file_keeps_its_meaning_for_crawlers_that_are_not_refused(file: Path) -> None:
    existing = file.read_bytes()
    merged = merge(existing, OURS)
    assert_site_refused(merged)
    # Two files in which Scrapy's parser reads groups for `*` and `Spider` differently from RFC 9309.
    allowed = set(ALLOWED) - ({"Baiduspider"} if file.stem in ("star-with-words", "nul-bytes") else set())
    assert_same_meaning(existing, merged, allowed | set(names_in(existing)), [*PATHS, *paths_in(existing)])


@pytest.mark.parametrize("file", ROBOTS_FILES, ids=lambda file: file.stem)
def test_merging_again_changes_nothing_and_another_policy_starts_anew(file: Path) -> None:
    existing = file.read_bytes()
    merged = merge(existing, OURS)
    assert merge(merged, OURS) == merged
    for other in OTHERS:
        assert merge(merged, other) == merge(existing, other)


@pytest.mark.parametrize("file", ROBOTS_FILES, ids=lambda file: file.stem)
def test_sitemaps_are_kept_for_every_parser(file: Path) -> None:
    existing = file.read_bytes()
    before, after = ProtegoReader(existing), ProtegoReader(merge(existing, OURS))
    assert after.sitemaps == before.sitemaps


def test_there_are_enough_real_files() -> None:
    assert len(ROBOTS_FILES) >= 60


@pytest.mark.parametrize("file", ROBOTS_FILES, ids=lambda file: file.stem)
def test_every_line_of_the_app_is_in_the_merged_file(file: Path) -> None:
    existing = b"\n".join(line.encode() for line in lines_of(file.read_bytes()))
    merged = merge(existing, OURS)
    assert merge(file.read_bytes(), OURS) == merged
    kept = set(merged.split(b"\n"))
    prefixes = (b"", robots_txt.TAKEN_OUT.encode(), robots_txt.OVERRULED.encode())
    if not existing.startswith(b"<"):
        for line in re.split(rb"[\r\n]+", existing):
            assert not line.strip() or any(prefix + line in kept for prefix in prefixes)


names = st.sampled_from(["*", "* all", "*x", "Bingbot", "bingbot/2.0", "Googlebot", "GPTBot", "gptbot", "GPTBot/1.2",
                         "ClaudeBot, CCBot", "CCBot", "Bing", "AI2Bot", "Baiduspider", "Spider", "SomebodyElse", ""])  # fmt: skip
agent_keys = st.sampled_from(["User-agent", "user-agent", "USER-AGENT ", "Useragent", "User agent", " User-Agent"])
rule_keys = st.sampled_from(["Disallow", "Allow", "disallow", "Disalow", "ALLOW", "Dissallow ", "\tAllow"])
rule_paths = st.sampled_from(["/", "", "/a", "/a/open", "/b", "/*.mp3$", "/private/", "/private/open", "/x*y", "/$",
                              "/*?", "private", "/caf\u00e9", "/caf%c3%a9/menu", "/index.html", "/a # b"])  # fmt: skip
other_lines = st.sampled_from(["", " ", "# comment", "#User-agent: *", "Sitemap: https://band.example/s.xml",
                               "Crawl-delay: 5", "Host: band.example", "Content-Signal: ai-train=no", "nonsense",
                               "User-agent", "Noindex: /a", "License: https://band.example/l.xml", "key : v",
                               "Clean-param: a /b", "two words", "<b>", "\ufffd"])  # fmt: skip
lines = st.one_of(
    st.builds("{}: {}".format, agent_keys, names),
    st.builds("{}: {}".format, agent_keys, names),
    st.builds("{}:{}".format, rule_keys, rule_paths),
    st.builds("{}: {}".format, rule_keys, rule_paths),
    other_lines,
)


@st.composite
def robots_files(draw: st.DrawFn) -> bytes:
    found = draw(st.lists(lines, max_size=14))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    bom = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    return bom + end.join(found).encode() + draw(st.sampled_from([b"", b"\n", b"\xff\xfe", b"\r\n\r\n"]))


@settings(max_examples=200, deadline=None)
@given(robots_files())
@example(b"User-agent: *\nCrawl-delay: 5\nUser-agent: GPTBot\nDisallow: /\n")
@example(b"Disallow: /\nUser-agent: Bingbot\nAllow: /a")
def test_any_file_keeps_its_meaning_for_crawlers_that_are_not_refused(existing: bytes) -> None:
    merged = merge(existing, OURS)
    assert_site_refused(merged)
    names = ["Googlebot", "Bingbot", "Bing", "SomebodyElse"]
    # Scrapy's parser reads `Spider` in an app's file as Baiduspider's too; by RFC 9309 it is another crawler.
    if b"Spider" not in existing and b"* all" not in existing:
        names.append("Baiduspider")
    assert_same_meaning(existing, merged, names, PATHS[:9])


@settings(max_examples=200, deadline=None)
@given(st.one_of(robots_files(), st.binary(max_size=200)))
@example(b"# Begin noai-guard\nUser-agent: *\nDisallow: /\n")
@example(b"Host: a\n# Begin noai-guard\nb: c\nUser-agent: *\nDisallow: /\n# End noai-guard\n# End noai-guard")
@example(b"# End noai-guard\n# Begin noai-guard\nUser-agent: *\nAllow: /")
def test_merging_any_bytes_again_changes_nothing(existing: bytes) -> None:
    merged = merge(existing, OURS)
    assert merge(merged, OURS) == merged
    for other in OTHERS:
        assert merge(merged, other) == merge(existing, other)


@settings(max_examples=100, deadline=None)
@given(robots_files())
def test_a_path_open_to_a_refused_crawler_is_open_only_where_the_app_opens_it(existing: bytes) -> None:
    merged = merge(existing, groups_of(PathPolicy("/private/**", OPEN)))
    for path in ("/private/", "/private/open/x", "/private/x.mp3", "/a", "/tracks/1.mp3"):
        open_here = google_allows(merged, "GPTBot", path)
        assert not open_here or (path.startswith("/private/") and google_allows(existing, "GPTBot", path)), merged


@settings(max_examples=100, deadline=None)
@given(robots_files())
def test_a_path_closed_to_a_search_engine_is_closed_beside_those_that_the_app_closes(existing: bytes) -> None:
    merged = merge(existing, groups_of(PathPolicy("/private/**", CLOSED)))
    for name in ("Googlebot", "Bingbot"):
        for path in ("/", "/a", "/a/open", "/b", "/tracks/1.mp3", "/privateer"):
            assert google_allows(merged, name, path) is google_allows(existing, name, path), (name, path, merged)
        for path in ("/private/", "/private", "/private/a"):
            assert not google_allows(merged, name, path), (path, merged)


def test_a_name_that_the_app_allows_and_the_site_refuses_is_taken_out_visibly() -> None:
    merged = merge(b"User-agent: GPTBot\nAllow: /\n", OURS)
    assert not google_allows(merged, "GPTBot", "/")
    assert b"\nUser-agent: taken-out-by-noai-guard # User-agent: GPTBot\nAllow: /\n" in merged


def test_an_app_that_closes_everything_stays_closed() -> None:
    merged = merge(b"User-agent: *\nDisallow: /\n", groups_of(PathPolicy("/press/**", OPEN)))
    for name in ("Googlebot", "GPTBot", "Baiduspider", "SomebodyElse"):
        assert not google_allows(merged, name, "/press/a")
        assert not ProtegoReader(merged).allows(name, "/press/a")


def test_the_lines_of_other_standards_are_in_every_group_of_the_app() -> None:
    merged = merge(b"User-agent: *\nDisallow: /a\n\nUser-agent: Bingbot\nCrawl-delay: 5\nDisallow: /b", OURS)
    usage = (
        b"# Begin noai-guard\nContent-Usage: train-ai=n, ai-use=n, search=y\n"
        b"Content-Signal: search=yes, ai-input=no, ai-train=no, use=reference\n# End noai-guard"
    )
    assert b"Disallow: /a\n" + usage in merged
    assert merged.endswith(b"Disallow: /b\n" + usage + b"\n")


def test_global_lines_stay_before_the_first_group() -> None:
    merged = merge(b"License: https://band.example/l.xml\n\nUser-agent: *\nDisallow: /a\n", OURS)
    assert merged.startswith(b"License: https://band.example/l.xml\n# Begin noai-guard\n")


def test_an_html_page_is_not_a_robots_txt() -> None:
    assert merge(b" \n<!doctype html><title>404</title>", OURS) == merge(b"", OURS)


@pytest.mark.thorough
def test_a_file_over_the_limit_of_parsers_is_cut_between_rules() -> None:
    existing = b"User-agent: *\n" + b"".join(b"Disallow: /private/%06d\n" % n for n in range(60_000))
    merged = merge(existing, OURS)
    assert MAX_BYTES - 100 < len(merged) <= MAX_BYTES
    assert re.fullmatch(rb"Disallow: /private/\d{6}", merged.splitlines()[-1])
    assert_site_refused(merged[:MAX_BYTES])
    assert google_allows(merged, "Googlebot", "/private/")


@pytest.mark.parametrize("line", [b"Disallow: /" + b"x" * 480_000, b" " * 480_000 + b"User-agent: *", b"a " * 240_000,
                                  b"User-agent: " + b"*" * 480_000, b"Disallow: /" + b"*x" * 240_000])  # fmt: skip
def test_a_line_of_any_length_is_kept_and_costs_little(line: bytes) -> None:
    groups = groups_of(PathPolicy("/press/**", OPEN))
    existing = b"User-agent: Bingbot\nDisallow: /b\n" + line
    assert line in merge(existing, groups)
    assert function_calls(lambda: merge(existing, groups)) < 10_000


def test_the_cost_grows_in_proportion_to_the_number_of_groups() -> None:
    def calls(count: int) -> int:
        existing = b"".join(b"User-agent: bot%d\nDisallow: /%d\n\n" % (n, n) for n in range(count))
        return function_calls(lambda: merge(existing, OURS))

    # A file that would be too long is merged a second time without the common lines: more than ten times the calls.
    assert calls(10_000) < 20 * calls(1_000)


def test_paths_that_the_app_opens_below_a_closed_path_are_closed() -> None:
    closed = PathPolicy("/drafts/**", {**load_stance().usages, Usage.SEARCH: Action.DENY})
    existing = b"User-agent: Googlebot\nAllow: /drafts/open\nAllow: /tracks/open\nDisallow: /tracks/\n"
    merged = merge(existing, groups_of(closed))
    assert not google_allows(merged, "Googlebot", "/drafts/open")
    assert google_allows(merged, "Googlebot", "/tracks/open")
    assert not google_allows(merged, "Googlebot", "/tracks/closed")
