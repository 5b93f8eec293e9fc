"""Works: which recording a path is part of."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.core.path_patterns import capturing_to_regex
from noai_guard.core.works import MARK, MAX_NAME, Works, work_pattern_problem

WORKS = Works(["/audio/{work}.mp3", "/hls/{work}/**", "/artists/*/**/tracks/{work}", "/**/stems/{work}-?.wav"])


@pytest.mark.parametrize(
    ("path", "work"),
    [
        ("/audio/tide.mp3", "tide"),
        ("/audio/tide.mp3.mp3", "tide.mp3"),
        ("/audio/.mp3", ""),
        ("/audio/tide.flac", ""),
        ("/audio/a/tide.mp3", ""),
        ("/hls/tide/segment-00001.ts", "tide"),
        ("/hls/tide/720p/index.m3u8", "tide"),
        ("/hls/tide", "tide"),
        ("/hls/", ""),
        ("/artists/ines/tracks/tide", "tide"),
        ("/artists/ines/2026/live/tracks/tide", "tide"),
        ("/artists/tracks/tide", ""),
        ("/label/stems/tide-1.wav", "tide"),
        ("/label/stems/tide-1-2.wav", "tide-1"),
        ("/audio/\u00e4\u00f6 \u4e2d.mp3", "\u00e4\u00f6 \u4e2d"),
        (f"/hls/{'a' * MAX_NAME}/1.ts", "a" * MAX_NAME),
        (f"/hls/{'a' * (MAX_NAME + 1)}/1.ts", ""),
        ("*", ""),
    ],
)
def test_a_path_names_its_work(path, work):
    assert WORKS.work_of(path) == work


def test_a_work_may_be_the_last_segment_at_any_depth():
    works = Works(["/audio/**/{work}"])
    assert [works.work_of(path) for path in ("/audio/tide", "/audio/a/b/tide", "/audio/", "/audio")] == [
        "tide", "tide", "", "",
    ]  # fmt: skip


def test_a_site_without_patterns_names_no_works():
    assert Works().work_of("/audio/tide.mp3") == ""


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("/audio/{work}.mp3", None),
        ("/hls/{work}/**", None),
        ("/{work}", None),
        ("/audio/*.mp3", "must hold {work} once"),
        ("/{work}/{work}", "must hold {work} once"),
        ("/audio/*{work}.mp3", "has a wildcard beside {work}; put text or a slash between them"),
        ("/audio/{work}**", "has a wildcard beside {work}; put text or a slash between them"),
        ("/audio/?{work}", "has a wildcard beside {work}; put text or a slash between them"),
        ("audio/{work}", "does not begin with /"),
        ("/audio/{artist}/{work}", "`{` has no meaning; alternatives are not supported, write several patterns"),
    ],
)
def test_a_pattern_of_works_is_checked(pattern, problem):
    assert work_pattern_problem(pattern) == problem


def test_works_of_the_same_patterns_are_equal():
    assert Works(["/hls/{work}/**"]) == Works(["/hls/{work}/**"])
    assert Works(["/hls/{work}/**"]) != Works(["/audio/{work}.mp3"])
    assert Works() != ()
    assert len({Works(), Works()}) == 1


@pytest.mark.parametrize("pattern", ["/audio/{work}.mp3", "/Audio/{work}.MP3"])
def test_a_work_is_found_by_servers_that_do_not_tell_letter_case_apart(pattern):
    works = Works([pattern])
    assert works.work_in_any_case(pattern.replace("{work}", "Tide")) == "Tide"
    assert works.work_in_any_case("/AUDIO/Tide.mP3") == "tide"
    assert works.work_in_any_case("/video/Tide.mp3") == ""


_name = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=MAX_NAME)


@given(_name, st.text("abc/.", max_size=30))
def test_every_part_of_a_work_has_its_name(name, rest):
    assert Works(["/hls/{work}/**"]).work_of(f"/hls/{name}/{rest}") == name
    assert Works(["/audio/{work}.mp3"]).work_of(f"/audio/{name}.mp3") == name


_PATTERNS = st.lists(
    st.sampled_from(["/a", "/b/", "a-", "-", ".mp3", "/*", "/**/", "*", "?", "/\u00e9", "**"]), max_size=4
).map("".join)


@given(_PATTERNS, _PATTERNS, st.text("ab-/.mp3\u00e9\u00c9", max_size=24))
def test_other_engines_find_the_same_work(before, after, rest):
    pattern = f"/{before.lstrip('/')}{MARK}{after}"
    path = f"/{rest.lstrip('/')}"
    # Such an engine reads bytes, of which `?` is one.
    if work_pattern_problem(pattern) or ("?" in pattern and not path.isascii()):
        return
    expression = capturing_to_regex(*pattern.split(MARK)).replace("$", r"\Z").encode()
    found = re.match(expression, path.encode())
    assert (found[1].decode() if found else "") == Works([pattern]).work_of(path)
    in_any_case = capturing_to_regex(*pattern.split(MARK), any_case=True).replace("$", r"\Z").encode()
    assert not found or re.match(in_any_case, path.encode())


def test_a_path_has_a_name_by_every_pattern_that_matches_the_most_specific_first():
    works = Works(["/audio/{work}.mp3", "/audio/{work}_128.mp3", "/hls/{work}/**"])
    assert works.names_of("/audio/song_128.mp3") == ("song", "song_128")
    assert works.work_of("/audio/song_128.mp3") == "song"
    assert works.names_of("/audio/song.mp3") == ("song",)
    assert works.names_of("/press") == ()


def test_a_pattern_in_other_letter_case_gives_a_name_beside_one_that_matches_as_it_is_written():
    works = Works(["/audio/{work}.mp3", "/audio/{work}_HQ.mp3"])
    assert works.names_of("/audio/Song_hq.mp3") == ("Song_hq",)
    assert works.names_in_any_case("/audio/Song_hq.mp3") == ("song", "Song_hq")


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["/audio/{work}.mp3", "/audio/{work}_128.mp3"], ("x", "x_128")),
        (["/audio/a-{work}.mp3", "/audio/{work}-b.mp3"], ("x-b", "a-x")),
        (["/hls/{work}/**", "/hls/live/{work}/**"], ("x", "live")),
        (["/audio/{work}.mp3", "/audio/{work}.flac", "/songs/{work}", "/hls/{work}/**"], None),
        (["/hls/{work}/**", "/hls/{work}/low/**"], None),
    ],
)
def test_patterns_that_give_one_path_two_names_overlap(patterns, names):
    found = Works(patterns).overlaps
    assert [(one, other) for one, other, _, _ in found] == ([tuple(patterns)] if names else [])
    assert all(each == names and Works(patterns).names_of(path) == names for _, _, path, each in found)


@pytest.mark.parametrize(
    ("pattern", "name", "can"),
    [
        ("/x/{work}-*.mp3", "ab", True),
        ("/x/{work}-*.mp3", "a-b", False),
        ("/hls/{work}/**", "..", False),
        ("/hls/{work}/**", ".a", True),
        ("/audio/{work}.mp3", "..", True),
    ],
)
def test_a_name_that_no_path_can_have_is_told(pattern, name, can):
    assert Works([pattern]).can_name(name) is can


@pytest.mark.parametrize("pattern", ["/caf\u00e9/{work}", "/cafe\u0301/{work}"])
@pytest.mark.parametrize("path", ["/caf\u00e9/A\u0301", "/cafe\u0301/A\u0301"])
def test_accents_in_a_pattern_match_in_either_form_and_the_name_stays_as_it_is(pattern, path):
    assert Works([pattern]).names_of(path) == ("A\u0301",)


@pytest.mark.parametrize(
    ("pattern", "path", "name"),
    [
        ("/audio/{work}.mp3", "/audio/tide.mp3", "tide"),
        ("/caf\u00e9/{work}/**", "/cafe\u0301/A/b", "A"),
        ("/*/{work}-?.ogg", "/x/tide-1.ogg", "tide"),
    ],
)
def test_other_engines_find_the_name_in_these_paths(pattern, path, name):
    for any_case in (False, True):
        expression = capturing_to_regex(*pattern.split(MARK), any_case=any_case).replace("$", r"\Z")
        found = re.match(expression.encode(), path.encode())
        assert found
        assert found[1].decode() == name


def test_patterns_with_wildcards_beside_the_name_are_looked_at_for_overlaps_too():
    (found,) = Works(["/x/*-{work}", "/x/{work}.mp3"]).overlaps
    assert found == ("/x/*-{work}", "/x/{work}.mp3", "/x/x-x.mp3", ("x-x", "x.mp3"))
