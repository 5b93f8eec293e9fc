import random
import re
from functools import cache
from unicodedata import normalize
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.core.path_patterns import (
    InvalidPatterns,
    PathMatcher,
    by_specificity,
    in_both_forms,
    pattern_chains,
    pattern_problem,
    pattern_to_regex,
    pattern_to_robots,
    perhaps_query,
)
from noai_guard.core.paths import MAX_PATH, normal_path
from tests.core.property_settings import PROPERTY

GLOBS = {
    # pattern: (matching, not matching)
    "/**": (["/", "/a", "/a/b/"], ["*"]),
    "/": (["/"], ["/a", "*"]),
    "/tracks/**": (["/tracks", "/tracks/", "/tracks/a", "/tracks/a/b.mp3"], ["/tracksuit", "/track", "/Tracks/", "/"]),
    "/tracks/": (["/tracks/"], ["/tracks", "/tracks/a"]),
    "/tracks": (["/tracks"], ["/tracks/", "/tracks/a"]),
    "/tracks**": (["/tracks", "/tracksuit", "/tracks/a/b"], ["/track"]),
    "/tracks/*": (["/tracks/", "/tracks/a"], ["/tracks", "/tracks/a/", "/tracks/a/b"]),
    "/tracks/**/*": (["/tracks/", "/tracks/a", "/tracks/a/b", "/tracks/a/"], ["/tracks"]),
    "/tracks/**/**": (["/tracks", "/tracks/", "/tracks/a/b"], ["/tracksuit"]),
    "/tracks/*/**": (["/tracks/", "/tracks/a", "/tracks/a/b/c"], ["/tracks"]),
    "/*.mp3": (["/a.mp3", "/.mp3"], ["/a/b.mp3", "/a.mp3x", "/a.mp3/"]),
    "/**/*.mp3": (["/a.mp3", "/a/b.mp3", "/a/b/.mp3"], ["/a/b.mp3/c", "/amp3", "/a.MP3"]),
    "/**.mp3": (["/a.mp3", "/a/b.mp3"], ["/a.mp3/b"]),
    "/a/**/b": (["/a/b", "/a/x/b", "/a/x/y/b"], ["/ab", "/a/xb", "/a/b/", "/a/b/x"]),
    "/a/**/b/**": (["/a/b", "/a/b/c", "/a/x/b/b/c"], ["/a/bc", "/a/xb/c"]),
    "/a**b": (["/ab", "/axb", "/a/x/b"], ["/abx", "/a"]),
    "/a/**b": (["/a/b", "/a/xb", "/a/x/yb"], ["/ab", "/a/bx"]),
    "/a*/**/b": (["/a/b", "/ax/b", "/ax/y/z/b"], ["/x/b", "/a"]),
    "/a*/**": (["/a", "/ab", "/ab/", "/ab/c"], ["/b"]),
    "/a?": (["/ab", "/a\u00e9", "/a?"], ["/a", "/a/", "/abc"]),
    "/?/?": (["/a/b"], ["/a", "/a//", "/aa/b"]),
    "/a?*": (["/ab", "/abc"], ["/a", "/a/b"]),
    "/a.b": (["/a.b"], ["/axb"]),
    "/a(b)+$^|]}": (["/a(b)+$^|]}"], ["/ab"]),
    "/**/a*b*c/**": (["/abc", "/x/a1b2c/y", "/abb/abcc"], ["/x/ab/c", "/abcx/y"]),
    "/**/x/*/y": (["/x/a/y", "/x/x/x/a/y"], ["/x/y", "/x/a/b/y"]),
    "/**a*b": (["/ab", "/a/ab", "/a/xaxb"], ["/a/b", "/ab/"]),
    "/caf\u00e9/**": (["/caf\u00e9", "/caf\u00e9/x"], ["/cafe"]),
    "/a%b": (["/a%b"], ["/ab"]),
}


@pytest.mark.parametrize("pattern", GLOBS)
def test_a_pattern_matches_what_its_author_expects(pattern: str) -> None:
    globs = PathMatcher([pattern])
    matching, others = GLOBS[pattern]
    assert [path for path in matching if globs.first(path) != 0] == []
    assert [path for path in others if globs.first(path) != -1] == []


def matches(pattern: str, path: str) -> bool:
    """Match by the documentation, one rule a line, in exponential time."""

    @cache
    def rest(p: int, s: int) -> bool:
        glob, text = pattern[p:], path[s:]
        if not glob:
            return not text
        if glob == "/**":
            return text[:1] in ("", "/")
        if glob.startswith("/**/"):
            return rest(p + 3, s) or (
                text[:1] == "/" and any(rest(p + 3, s + n) for n in range(len(text)) if text[n] == "/")
            )
        if glob.startswith("**"):
            return any(rest(p + 2, s + n) for n in range(len(text) + 1))
        if glob[0] == "*":
            return any(rest(p + 1, s + n) for n in range(len(text) + 1) if "/" not in text[:n])
        if glob[0] == "?":
            return text[:1] not in ("", "/") and rest(p + 1, s + 1)
        return text[:1] == glob[0] and rest(p + 1, s + 1)

    return rest(0, 0)


GLOB_PARTS = ("a", "b", "/", "/", "*", "**", "/**/", "/**", "?", "*/", "/*")


def some_globs(chance: random.Random) -> list[str]:
    made = ("/" + "".join(chance.choices(GLOB_PARTS, k=chance.randrange(1, 8))) for _ in range(6))
    return [glob for glob in made if pattern_problem(glob) is None]


def some_path(chance: random.Random) -> str:
    return normal_path("/" + "".join(chance.choices("aab/", k=chance.randrange(0, 14))))


@settings(PROPERTY, max_examples=1500)
@given(st.integers(0, 2**64))
def test_patterns_match_as_documented(seed: int) -> None:
    chance = random.Random(seed)
    globs, paths = some_globs(chance), [some_path(chance) for _ in range(8)]
    for glob in globs:
        compiled = PathMatcher([glob])
        for path in paths:
            assert (compiled.first(path) == 0) is matches(glob, path), (glob, path)


@settings(PROPERTY, max_examples=1000)
@given(st.integers(0, 2**64))
def test_the_most_specific_of_several_patterns_wins(seed: int) -> None:
    chance = random.Random(seed)
    globs = some_globs(chance)

    def rank(index: int) -> tuple[bool, int, int, int, int, int]:
        glob = globs[index]
        deep = glob.count("**")
        prefix = re.match(r"[^*?]*", glob)[0]  # type: ignore[index]
        literals = len(glob) - glob.count("*") - glob.count("?")
        return prefix != glob, -len(prefix), -literals, deep, glob.count("*") - 2 * deep, index

    compiled = PathMatcher(globs)
    for path in (some_path(chance) for _ in range(8)):
        holding = [index for index, glob in enumerate(globs) if matches(glob, path)]
        assert compiled.first(path) == min(holding, key=rank, default=-1)


def test_specificity_is_not_the_order_of_the_file() -> None:
    globs = PathMatcher(["/**", "/tracks/**", "/tracks/*", "/tracks/one.mp3", "/**/*.mp3", "/tracks", "/tracks/**"])
    assert globs.first("/tracks/one.mp3") == 3
    assert globs.first("/tracks/two.mp3") == 2
    assert globs.first("/tracks/a/two.mp3") == 1
    assert globs.first("/tracks") == 5
    assert globs.first("/x.mp3") == 4
    assert globs.first("/x") == 0


def test_no_patterns_match_nothing() -> None:
    assert PathMatcher([]).first("/") == -1


@pytest.mark.parametrize("tail", ["", "a", "/", "/b", "/aab"])
@pytest.mark.parametrize("unit", ["a", "/a", "ab", "/ab/", "aaaaaaa/", "b/a"])
@pytest.mark.parametrize(
    "pattern",
    [
        *("/**/*a*/**/b*", "/**a*b", "/**/*.mp3", "/**a?a?a?b**c*d", "/**/a/**/a/**/a/**/b", "/*a*a*a*a*a*a*a*a*b"),
        *("/**/a*/a*/a*/b", "/**a**a**a**a**b", "/" + "*a" * 100, "/**" + "/**/a" * 50, "/**" + "?" * 40 + "c**"),
    ],
)
def test_hostile_paths_are_matched_in_linear_time(pattern: str, unit: str, tail: str) -> None:
    path = normal_path("/" + (unit * MAX_PATH)[: MAX_PATH - 10] + tail)
    # Sixteen times the longest path that is ever matched: quadratic time would be minutes, backtracking far more.
    PathMatcher([pattern]).first(path[:1] + path[1:-10] * 16 + path[-10:])


BAD_GLOBS = {
    "": "is empty",
    "tracks/**": "does not begin with /",
    "*": "does not begin with /",
    "http://a.example/**": "does not begin with /",
    "/***": "`***` has no meaning",
    "/a/****/b": "`***` has no meaning",
    "/[ab]": "`[` has no meaning",
    "/{a,b}": "`{` has no meaning",
    "/a\n": "control character",
    "/a\0": "control character",
    "/a\x85": "control character",
    "/\ud800": "surrogate",
    "/a\\*": "a backslash escapes nothing",
    "/a//b": "never matches",
    "//": "never matches",
    "/a/../b": "never matches",
    "/./a": "never matches",
    "/a/..": "never matches",
    "/caf%C3%A9": "never matches",
    "/feed?type=podcast": "without their query",
    "/feed?type=*": "without their query",
    "/*?lang=*": "without their query",
    "/**?*=*": "without their query",
    "/shop?tags[]=vinyl": "without their query",
    "/feed?all&format=rss": "without their query",
    "/" + "a" * 1024: "longer than 1024",
}


@pytest.mark.parametrize("pattern", BAD_GLOBS)
def test_a_bad_pattern_is_explained(pattern: str) -> None:
    assert BAD_GLOBS[pattern] in (pattern_problem(pattern) or "")


def test_every_bad_pattern_is_reported_at_once() -> None:
    with pytest.raises(InvalidPatterns, match=r"pattern 1 is empty.*; pattern 3") as caught:
        PathMatcher(["/a", "", "/b", "/["])
    assert [index for index, _ in caught.value.problems] == [1, 3]


@pytest.mark.parametrize(
    "pattern", [*GLOBS, "/" + "a" * 1023, "/.well-known/**", "/a/...", "/100%", "/a?b", "/v?/key=1", "/track-?=x"]
)
def test_a_good_pattern_is_no_problem(pattern: str) -> None:
    assert pattern_problem(pattern) is None


@pytest.mark.parametrize(
    "pattern", ["/feed?", "/feed?*", "/*?", "/*?*", "/**?**", "/feed?format", "/wp-json?rest_route"]
)
def test_a_wildcard_at_the_end_that_may_be_meant_as_a_query_is_noticed(pattern: str) -> None:
    assert pattern_problem(pattern) is None
    assert perhaps_query(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["/track-?/**", "/track-?", "/track_?", "/v1.?", "/colo?r", "/gr?y", "/tracks/?*", "/disc?.mp3", "/disc?/**"],
)
def test_a_wildcard_for_one_character_is_left_in_peace(pattern: str) -> None:
    assert pattern_problem(pattern) is None
    assert not perhaps_query(pattern)


REGEXES = {
    "/": "^/$",
    "/**": "^(?:/(?s:.*))?$",
    "/tracks/**": "^/tracks(?:/(?s:.*))?$",
    "/tracks/*": "^/tracks/[^/]*$",
    "/**/*.mp3": r"^/(?:[^/]*/)*[^/]*\x2emp3$",
    "/a**b": "^/a(?s:.*)b$",
    "/demo-?": "^/demo-[^/]$",
    "/caf\u00e9": r"^/caf\xc3\xa9$",
}


@pytest.mark.parametrize("pattern", REGEXES)
def test_a_pattern_has_a_regular_expression_for_other_engines(pattern: str) -> None:
    assert pattern_to_regex(pattern) == REGEXES[pattern]


ANY_CASE = {
    "/Tracks/*-x": "(?i)^/Tracks/[^/]*-x$",
    "/caf\u00e9": r"(?i)^/caf(?:\xc3\xa9|\xc3\x89)$",
    "/\u00c9t\u65e5": r"(?i)^/(?:\xc3\x89|\xc3\xa9)t\xe6\x97\xa5$",
}


@pytest.mark.parametrize("pattern", ANY_CASE)
def test_the_regular_expression_of_a_pattern_can_take_letters_in_any_case(pattern: str) -> None:
    assert pattern_to_regex(pattern, any_case=True) == ANY_CASE[pattern]


@pytest.mark.parametrize("pattern", GLOBS)
def test_the_regular_expression_of_a_pattern_matches_the_same_paths(pattern: str) -> None:
    regex = re.compile(pattern_to_regex(pattern).removesuffix("$").encode() + rb"\Z")
    matching, others = GLOBS[pattern]
    # `?` is one byte to engines that match bytes.
    assert [
        path for path in matching if ("?" not in pattern or path.isascii()) and not regex.match(path.encode())
    ] == []
    assert [path for path in others if path != "*" and regex.match(path.encode())] == []


def test_a_pattern_is_a_chain_for_each_run_of_segments() -> None:
    assert pattern_chains("/a*b/**/c?/**") == [
        ("start", [[("text", "/a")], [("text", "b/")]]),
        ("segments", [[("text", "c"), ("one", "?"), ("below", "/**")]]),
    ]
    assert pattern_chains("/a**") == [("start", [[("text", "/a")]])]
    assert pattern_chains("/") == [("start", [[("text", "/"), ("end", "")]])]


def test_the_most_specific_pattern_is_listed_first() -> None:
    assert by_specificity(["/**", "/tracks/**", "/tracks/*", "/tracks", "/tracks/**"]) == [3, 2, 1, 4, 0]


ROBOTS = {
    "/**": ["/"],
    "/": ["/$", "/?"],
    "/tracks/**": ["/tracks/", "/tracks$", "/tracks?"],
    "/tracks/": ["/tracks/$", "/tracks/?"],
    "/tracks": ["/tracks$", "/tracks?"],
    "/tracks**": ["/tracks"],
    "/tracks/**/*": ["/tracks/"],
    "/**/*": ["/"],
    "/a/**/**": ["/a/", "/a$", "/a?"],
    "/my tracks/**": ["/my%20tracks/", "/my%20tracks$", "/my%20tracks?"],
    "/caf\u00e9": ["/caf%C3%A9$", "/caf%C3%A9?"],
    "/a#b": ["/a%23b$", "/a%23b?"],
    "/100%": ["/100%25$", "/100%25?"],
    "/tracks/*": None,
    "/*.mp3": None,
    "/**/*.mp3": None,
    "/**.mp3": None,
    "/a?": None,
    "/a/**/b": None,
    "/a*/**": None,
    "/a$": None,
    "bad": None,
    "": None,
}


@pytest.mark.parametrize("pattern", ROBOTS)
def test_a_pattern_has_robots_txt_rules_only_if_they_match_exactly_the_same_urls(pattern: str) -> None:
    assert pattern_to_robots(pattern) == ROBOTS[pattern]


def robots_match(rule: str, url: str) -> bool:
    """Match as RFC 9309 section 2.2.3 says."""
    end = rule.endswith("$")
    parts = (re.escape(part) for part in rule.removesuffix("$").split("*"))
    return re.match(".*".join(parts) + (r"\Z" if end else ""), url) is not None


@settings(PROPERTY, max_examples=500)
@given(st.integers(0, 2**64), st.sampled_from(["", "?", "?a", "?/a/b", "?b?$"]))
def test_robots_rules_match_the_urls_whose_path_the_pattern_matches(seed: int, query: str) -> None:
    chance = random.Random(seed)
    paths = [some_path(chance) for _ in range(8)]
    for glob in [*some_globs(chance), "/a/**", "/a**", "/b", "/a b/**"]:
        rules = pattern_to_robots(glob)
        if rules is None:
            continue
        for path in [*paths, "/a", "/a/", "/a b", "/ab/a"]:
            is_matched = any(robots_match(rule, quote(path) + query) for rule in rules)
            assert is_matched is matches(glob, path), (glob, path + query)


@pytest.mark.parametrize("pattern", ["/caf\u00e9", "/caf\u00e9/**", "/*/caf\u00e9-?/**", "/**/caf\u00e9*.mp3"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_accents_match_in_either_form_everywhere(pattern, form, asked):
    pattern = normalize(form, pattern)
    path = normalize(asked, pattern.replace("/**", "/x").replace("*", "y").replace("?", "1"))
    assert PathMatcher([pattern]).first(path) == 0
    forms = in_both_forms([pattern])
    assert any(re.search(pattern_to_regex(each).encode().removesuffix(b"$") + rb"\Z", path.encode()) for each in forms)
    assert forms == in_both_forms(forms)


def test_a_pattern_without_accents_has_one_form():
    assert in_both_forms(["/a", "/b/**", "/a"]) == ("/a", "/b/**")
