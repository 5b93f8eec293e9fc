import random
import re
import timeit
from functools import cache
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from noai_guard.core.path_patterns import GlobsInvalid, compile_globs, glob_problem, glob_to_robots
from noai_guard.core.paths import MAX_PATH, MAX_RAW_PATH, normal_path, other_readings

PROPERTY = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)

PATHS = {
    # raw: normal
    "": "/",
    "/": "/",
    "*": "*",
    "/*": "/*",
    "**": "/**",
    "/tracks/neon/one.mp3": "/tracks/neon/one.mp3",
    "/tracks/": "/tracks/",
    "//": "/",
    "///tracks////one": "/tracks/one",
    "//evil.example/y": "/evil.example/y",
    "/a/b//c/../d": "/a/b/d",
    "/a//../b": "/b",
    "/.": "/",
    "/./": "/",
    "/..": "/",
    "/../": "/",
    "/../../etc/passwd": "/etc/passwd",
    "/a/.": "/a/",
    "/a/..": "/",
    "/a/b/..": "/a/",
    "/a/b/../": "/a/",
    "/a/./b": "/a/b",
    "/a/../../b": "/b",
    "/press/../tracks/one.mp3": "/tracks/one.mp3",
    "/...": "/...",
    "/a../b": "/a../b",
    "/..a/.b": "/..a/.b",
    "/.well-known/tdmrep.json": "/.well-known/tdmrep.json",
    "/. /a": "/. /a",
    "/TRACKS/One": "/TRACKS/One",
    "/a;v=1/b": "/a;v=1/b",
    "/a/..;/b": "/a/..;/b",
    "/a#b": "/a#b",
    "/a?b": "/a?b",
    "/a\\..\\b": "/a\\..\\b",
    "/press/..\\tracks": "/press/..\\tracks",
    "/%2e%2e/a": "/%2e%2e/a",
    "/a%2Fb": "/a%2Fb",
    "/a\0b": "/a\0b",
    "/a\n/../b": "/b",
    "/\ud800": "/\ud800",
    "/caf\u00e9": "/caf\u00e9",
    "/a\u2024\u2024/b": "/a\u2024\u2024/b",
    "/\uff0e\uff0e/a": "/\uff0e\uff0e/a",
    "/a\u2215b": "/a\u2215b",
    "http://evil.example/y": "/y",
    "HTTPS://evil.example:443//y/../z": "/z",
    "http://evil.example": "/",
    "http://user@evil.example/": "/",
    "http:///y": "/y",
    "coap+tcp://x/y": "/y",
    "http:/y": "/http:/y",
    "evil.example:443": "/evil.example:443",
    "tracks/one": "/tracks/one",
    "../tracks": "/tracks",
    ".": "/",
    "..": "/",
    "/http://evil.example/y": "/http:/evil.example/y",
    "1http://x/y": "/1http:/x/y",
}


@pytest.mark.parametrize("raw", PATHS)
def test_a_path_is_normalised_once_and_the_same_way(raw: str) -> None:
    assert normal_path(raw) == PATHS[raw]


SEGMENTS = st.sampled_from(["", ".", "..", "...", ".a", "a", "b.", "\\", "\0", "é", "\ud800", "*", "http:", "%2e", ";"])


@settings(PROPERTY, max_examples=3000)
@given(st.lists(SEGMENTS, max_size=12).map("/".join) | st.text(st.characters(codec=None), max_size=30))
def test_a_normal_path_stays_as_it_is_and_has_no_empty_and_no_dot_segments(raw: str) -> None:
    path = normal_path(raw)
    assert normal_path(path) == path
    assert path == "*" or path.startswith("/")
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))
    assert len(path) <= MAX_PATH


@settings(PROPERTY, max_examples=2000)
@given(st.lists(SEGMENTS.filter(bool), max_size=12))
def test_dot_segments_are_removed_as_rfc_3986_says(segments: list[str]) -> None:
    rest, out = "/" + "/".join(segments), ""
    while rest:  # section 5.2.4, step 2, for paths that begin with a slash
        if rest.startswith("/./") or rest == "/.":
            rest = "/" + rest[3:]
        elif rest.startswith("/../") or rest == "/..":
            rest, out = "/" + rest[4:], out[: max(0, out.rfind("/"))]
        else:
            segment = re.match("/[^/]*", rest)[0]  # type: ignore[index]
            rest, out = rest[len(segment) :], out + segment
    # Section 5.2.4 can leave an empty segment only where one stood before.
    assert normal_path("/" + "/".join(segments)) == out


@pytest.mark.parametrize("cut", range(6))
def test_a_path_beyond_the_limit_is_cut_and_still_normal(cut: int) -> None:
    raw = "/" + "a" * (MAX_PATH - 1 - cut) + "/..x/.y/z"
    path = normal_path(raw)
    assert len(path) <= MAX_PATH
    assert raw.startswith(path)
    assert normal_path(path) == path


@pytest.mark.parametrize("padding", ["/.", "/", "/a/.."])
def test_padding_of_dots_and_slashes_does_not_push_a_path_out_of_sight(padding: str) -> None:
    assert normal_path(padding * 10_000 + "/tracks/one.mp3") == "/tracks/one.mp3"


@pytest.mark.parametrize("unit", ["/.", "/", "/a/..", "/a", "a", "/..", "http://"])
def test_the_cost_of_a_path_is_bounded(unit: str) -> None:
    def cost(size: int) -> float:
        raw = "/" + (unit * (size // len(unit) + 1))[:size]
        return min(timeit.repeat(lambda: normal_path(raw), number=1, repeat=5))

    assert cost(20 * MAX_RAW_PATH) < 4 * cost(MAX_RAW_PATH)


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
def test_a_pattern_matches_what_its_reader_expects(pattern: str) -> None:
    globs = compile_globs([pattern])
    matching, others = GLOBS[pattern]
    assert [path for path in matching if globs.first(path) != 0] == []
    assert [path for path in others if globs.first(path) != -1] == []


def matches(pattern: str, path: str) -> bool:
    """What the documentation says, one rule a line, in exponential time."""

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
    return [glob for glob in made if glob_problem(glob) is None]


def some_path(chance: random.Random) -> str:
    return normal_path("/" + "".join(chance.choices("aab/", k=chance.randrange(0, 14))))


@settings(PROPERTY, max_examples=1500)
@given(st.integers(0, 2**64))
def test_patterns_match_as_documented(seed: int) -> None:
    chance = random.Random(seed)
    globs, paths = some_globs(chance), [some_path(chance) for _ in range(8)]
    for glob in globs:
        compiled = compile_globs([glob])
        for path in paths:
            assert (compiled.first(path) == 0) is matches(glob, path), (glob, path)


@settings(PROPERTY, max_examples=1000)
@given(st.integers(0, 2**64))
def test_the_most_specific_of_several_patterns_wins(seed: int) -> None:
    chance = random.Random(seed)
    globs = some_globs(chance)

    def rank(place: int) -> tuple[bool, int, int, int, int, int]:
        glob = globs[place]
        deep = glob.count("**")
        prefix = re.match(r"[^*?]*", glob)[0]  # type: ignore[index]
        literals = len(glob) - glob.count("*") - glob.count("?")
        return prefix != glob, -len(prefix), -literals, deep, glob.count("*") - 2 * deep, place

    compiled = compile_globs(globs)
    for path in (some_path(chance) for _ in range(8)):
        holding = [place for place, glob in enumerate(globs) if matches(glob, path)]
        assert compiled.first(path) == min(holding, key=rank, default=-1)


def test_specificity_is_not_the_order_of_the_file() -> None:
    globs = compile_globs(["/**", "/tracks/**", "/tracks/*", "/tracks/one.mp3", "/**/*.mp3", "/tracks", "/tracks/**"])
    assert globs.first("/tracks/one.mp3") == 3
    assert globs.first("/tracks/two.mp3") == 2
    assert globs.first("/tracks/a/two.mp3") == 1
    assert globs.first("/tracks") == 5
    assert globs.first("/x.mp3") == 4
    assert globs.first("/x") == 0


def test_no_patterns_match_nothing() -> None:
    assert compile_globs([]).first("/") == -1


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
    match = compile_globs([pattern]).first

    def cost(size: int) -> float:
        path = normal_path("/" + (unit * size)[: size - 10] + tail)
        return min(timeit.repeat(lambda: match(path), number=1, repeat=7))

    # Quadratic time would be 16 times as much, backtracking far more; the rest is for a noisy machine.
    assert cost(MAX_PATH) < 8 * cost(MAX_PATH // 4) + 50e-6


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
    "/" + "a" * 1024: "longer than 1024",
}


@pytest.mark.parametrize("pattern", BAD_GLOBS)
def test_a_bad_pattern_is_told_in_words(pattern: str) -> None:
    assert BAD_GLOBS[pattern] in (glob_problem(pattern) or "")


def test_every_bad_pattern_is_told_at_once() -> None:
    with pytest.raises(GlobsInvalid, match=r"pattern 1 is empty.*; pattern 3") as caught:
        compile_globs(["/a", "", "/b", "/["])
    assert [place for place, _ in caught.value.problems] == [1, 3]


@pytest.mark.parametrize("pattern", [*GLOBS, "/" + "a" * 1023, "/.well-known/**", "/a/...", "/100%", "/a?b"])
def test_a_good_pattern_is_no_problem(pattern: str) -> None:
    assert glob_problem(pattern) is None


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
def test_a_pattern_is_put_into_robots_txt_only_if_it_says_exactly_the_same(pattern: str) -> None:
    assert glob_to_robots(pattern) == ROBOTS[pattern]


def robots_match(rule: str, url: str) -> bool:
    """RFC 9309 section 2.2.3."""
    end = rule.endswith("$")
    parts = (re.escape(part) for part in rule.removesuffix("$").split("*"))
    return re.match(".*".join(parts) + (r"\Z" if end else ""), url) is not None


@settings(PROPERTY, max_examples=500)
@given(st.integers(0, 2**64), st.sampled_from(["", "?", "?a", "?/a/b", "?b?$"]))
def test_robots_rules_match_the_urls_whose_path_the_pattern_matches(seed: int, query: str) -> None:
    chance = random.Random(seed)
    paths = [some_path(chance) for _ in range(8)]
    for glob in [*some_globs(chance), "/a/**", "/a**", "/b", "/a b/**"]:
        rules = glob_to_robots(glob)
        if rules is None:
            continue
        for path in [*paths, "/a", "/a/", "/a b", "/ab/a"]:
            said = any(robots_match(rule, quote(path) + query) for rule in rules)
            assert said is matches(glob, path), (glob, path + query)


READINGS = {
    # raw: what else a server may read
    "/": (),
    "/tracks/neon/one.mp3": (),
    "/.well-known/tdmrep.json": (),
    "/a//b": (),
    "/press/../tracks/one": ("/press/%2e%2e/tracks/one",),
    "/press/%2E%2e/tracks/one": ("/press/%2e%2e/tracks/one",),
    "/press/./one": ("/press/%2e/one",),
    "//press/tracks/one": ("/tracks/one",),
    "//press": ("/",),
    "/press%2ftracks": ("/press%2Ftracks",),
    "/press/..%2Ftracks": ("/press/%2e%2e/tracks", "/press/..%2Ftracks"),
    "/tracks;v=1/one;x": ("/tracks/one",),
    "/press/..;/tracks/one": ("/tracks/one",),
    "/press/..%3B/tracks/one": ("/tracks/one",),
    "/press\\..\\tracks": ("/tracks",),
    "/press%5C..%5Ctracks": ("/tracks",),
    "/press/%252e%252e/tracks": ("/tracks",),
    "/100%25": (),
}


@pytest.mark.parametrize(("raw", "others"), READINGS.items())
def test_what_else_a_server_may_read(raw, others):
    assert other_readings(raw.encode()) == others


@PROPERTY
@given(st.text(st.sampled_from("/.;%25eEfFcC3bB\\ax"), max_size=40))
def test_other_readings_are_normal_paths_and_others(raw):
    readings = other_readings(raw.encode())
    assert len(set(readings)) == len(readings) <= 10
    assert normal_path(unquote(raw)) not in readings
    assert [normal_path(reading) for reading in readings] == list(readings)


@pytest.mark.parametrize(
    "raw", ["//" * 30_000, "/.." * 20_000, ";/" * 30_000, "%252f" * 13_000, "\\.." * 20_000, "/" + ";" * 60_000]
)
def test_other_readings_take_time_in_proportion_to_the_path(raw):
    def seconds(path):
        return min(timeit.repeat(lambda: other_readings(path), number=1, repeat=3))

    half, whole = seconds(raw[: len(raw) // 2].encode()), seconds(raw.encode())
    assert whole < 8 * half + 0.01
