import re
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.core.paths import MAX_ODD_PATH, MAX_PATH, MAX_RAW_PATH, Readings, normal_path, readings
from tests.core.property_settings import PROPERTY

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


class ReadUpToALimit(str):
    """A path that fails the test when it is searched as a whole."""

    def __contains__(self, key: object) -> bool:
        raise AssertionError("searched beyond the limit")

    split = rfind = startswith = replace = __contains__  # type: ignore[assignment]


@pytest.mark.parametrize("unit", ["/.", "/", "/a/..", "/a", "a", "/..", "http://"])
def test_no_more_of_a_path_is_read_than_the_limit(unit: str) -> None:
    raw = "/" + unit * MAX_RAW_PATH
    assert normal_path(ReadUpToALimit(raw)) == normal_path(raw[:MAX_RAW_PATH])


READINGS = {
    # raw: other readings
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
    "/press/..%2Ftracks": ("/press/..%2Ftracks", "/press/%2e%2e/tracks"),
    "/tracks/one#x": ("/tracks/one",),
    "/tracks;v=1/one;x": ("/tracks/one",),
    "/press/..;/tracks/one": ("/tracks/one", "/press/%2e%2e/tracks/one"),
    "/press/..%3B/tracks/one": ("/tracks/one", "/press/%2e%2e/tracks/one"),
    "/press\\..\\tracks": ("/tracks", "/press/%2e%2e/tracks"),
    "/press%5C..%5Ctracks": ("/tracks", "/press/%2e%2e/tracks"),
    "/press/%252e%252e/tracks": ("/tracks",),
    "/100%25": (),
    "/press/%C0%AE%C0%AE/tracks": ("/tracks", "/press/%2e%2e/tracks"),
    "/press%C0%AFtracks": ("/press/tracks",),
    "/press%E0%80%AFtracks%F0%80%80%AF1": ("/press/tracks/1",),
    "/press%C1%9C..": ("/press\\..", "/"),
}


@pytest.mark.parametrize(("raw", "others"), READINGS.items())
def test_other_readings_are_those_of_servers_that_read_the_path_differently(raw: str, others: tuple[str, ...]) -> None:
    read = readings(raw.encode())
    assert read.plain == normal_path(unquote(raw))
    assert set(others) <= set(read.others)
    assert bool(others) == bool(read.others)
    assert read.complete


@pytest.mark.parametrize(("raw", "others"), [(raw, others) for raw, others in READINGS.items() if "%" not in raw])
def test_a_path_that_is_decoded_already_has_the_same_readings(raw: str, others: tuple[str, ...]) -> None:
    assert readings(raw) == readings(raw.encode())


@PROPERTY
@given(st.text(st.sampled_from("/.;%25eEfFcC3bB\\ax0"), max_size=40))
def test_other_readings_are_normal_and_differ_from_the_path(raw: str) -> None:
    for read in (readings(raw.encode()), readings(raw)):
        assert len(set(read.others)) == len(read.others) <= 64
        assert read.plain not in read.others
        assert [normal_path(reading) for reading in read.others] == list(read.others)


@PROPERTY
@given(st.binary(max_size=40))
def test_any_bytes_have_readings(raw: bytes) -> None:
    assert normal_path(readings(raw).plain) == readings(raw).plain


@pytest.mark.parametrize(
    "raw", ["/a" * 4097, "/..;" * 257, "//" * 30_000, "/a" * 700 + "//", "/press/%00", "/press/%2500", "/a\0b"]
)
def test_what_is_too_long_or_ends_at_nul_has_more_readings_than_are_made(raw: str) -> None:
    assert not readings(raw.encode()).complete
    assert readings("/" + "a" * MAX_PATH) == Readings(normal_path("/" + "a" * MAX_PATH), complete=False)
    assert readings("/" + "a" * (MAX_PATH - 1)).complete
    assert readings("//".ljust(MAX_ODD_PATH, "a")).complete
