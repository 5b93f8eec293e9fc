"""Works by name, as servers look them up."""

import re
import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.config import load_catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Usage
from noai_guard.core.policy import Creators
from noai_guard.core.wish_index import UNSET, WishIndex, number_of
from noai_guard.core.wishes import WISHED_USAGES, Choice, WorkWishes
from noai_guard.targets.overlapping_works import can_be_looked_up
from noai_guard.targets.sdbm import TooLong, sdbm
from noai_guard.targets.work_map import MAX_WISHES, WorkMap, plain_name, plain_ranges
from tests.targets.conformance import policy
from tests.targets.web_servers import program

NO, YES = Choice.DISALLOW, Choice.ALLOW
TEXT = b"extends: no-training\nusages: {train-ai: yes}\nworks: ['/audio/{work}.mp3', '/{work}', '/Audio/x/{work}']\n"
TRAIN = {Usage.TRAIN_AI: NO}
OPEN = {Usage.AI_SEARCH: YES}


def work_map(*works: WorkWishes, decide: bool = False) -> WorkMap:
    creators = Creators(decide=decide, index=WishIndex(works))
    return WorkMap(works, DecisionTable(replace(policy(TEXT), creators=creators), load_catalog()))


def ascii_lower(name: str) -> str:
    return name.encode().lower().decode()


PLAIN = re.compile(plain_name().replace("$", r"\Z").encode())
NAMES = st.text(
    st.one_of(
        st.sampled_from("aAkKsS-09éÉſ\u212aßガ\u3099カ夜İıσς\u0301가ᄀ\u1161"), st.characters(exclude_categories=["Cs"])
    ),
    min_size=1,
    max_size=6,
).filter(lambda name: "/" not in name)
ISRCS = st.from_regex(r"\A[A-Za-z]{2}-?[A-Za-z0-9]{3}-?[0-9]{2}-?[0-9]{5}\Z")


@settings(deadline=None)
@given(st.one_of(NAMES, ISRCS), st.one_of(NAMES, ISRCS), st.randoms())
def test_every_spelling_of_a_listed_name_is_found_or_not_plain(name, other, random):
    spelling = random.choice([str.lower, str.upper, str.swapcase, str.title, str])(
        normalize(random.choice(["NFC", "NFD"]), random.choice([name, name, other]))
    )
    keys = work_map(WorkWishes(name, TRAIN)).keys
    found = keys.get(ascii_lower(spelling))
    expected = WishIndex([WorkWishes(name, TRAIN)]).number(spelling)
    if found is None and PLAIN.match(spelling.encode()):
        assert expected is None
    elif found is not None:
        assert expected == found


def test_names_in_many_scripts_are_plain_in_lower_case_and_composed():
    for name in ("Song 1", "été", "привет", "夜に駆ける", "가나다", "ガラス", "שלום", "ábaco – “uno”"):
        assert PLAIN.match(normalize("NFC", name).encode()), name
    for name in (
        "ÉTÉ",
        "Привет",
        normalize("NFD", "été"),
        normalize("NFD", "ガラス"),
        "straße",
        "ſong",
        "a\n",
        "\u212a",
        "GB-AAA0012345",
    ):
        assert not PLAIN.match(name.encode()), name
    assert all(first <= last for first, last in plain_ranges())


def test_works_whose_names_differ_in_letter_case_share_the_stricter_wish():
    works = work_map(WorkWishes("Tide", OPEN), WorkWishes("tide", TRAIN), WorkWishes("foam", OPEN), decide=True)
    assert works.keys["tide"] == number_of(TRAIN)
    assert works.keys["foam"] == number_of(OPEN)
    assert (works.works, works.shared) == (3, 1)


def test_what_only_allows_has_no_effect_unless_creators_decide():
    assert not work_map(WorkWishes("tide", OPEN)).keys
    assert work_map(WorkWishes("tide", OPEN), decide=True).numbers


def test_a_name_beyond_ascii_for_which_nothing_is_wished_is_known():
    assert work_map(WorkWishes("Été", {}), WorkWishes("tide", TRAIN)).keys["été"] == UNSET


def test_rare_wishes_beyond_the_limit_count_as_the_strictest():
    kinds = [
        {usage: NO if number >> place & 1 else Choice.UNSET for place, usage in enumerate(WISHED_USAGES)}
        for number in range(1, 2 ** len(WISHED_USAGES))
    ]
    works = work_map(
        *(WorkWishes(f"{kind}-{copy}", kinds[kind]) for kind in range(40) for copy in range(2 + (kind < 5)))
    )
    assert len(works.numbers) == MAX_WISHES
    assert {works.keys[f"{kind}-0"] for kind in range(5)} == {number_of(kinds[kind]) for kind in range(5)}
    assert works.shared
    for kind in range(40):
        given = works.keys[f"{kind}-0"]
        assert given in (number_of(kinds[kind]), works.strictest)


def test_the_most_specific_pattern_finds_the_name():
    expressions = work_map(WorkWishes("tide", TRAIN)).expressions
    found = [next(filter(None, (re.match(each.replace("$", r"\Z"), path) for each in expressions)))[1]
             for path in ("/audio/tide.mp3", "/tide", "/AUDIO/TIDE.MP3", "/audio/x/tide")]  # fmt: skip
    assert found == ["tide", "tide", "TIDE", "tide"]


def test_a_small_file_is_the_one_that_apaches_tool_writes(tmp_path: Path) -> None:
    (tmp_path / "map.txt").write_text("abc 1\ndef 2\nsong-1 364\n")
    subprocess.run(
        [program("httxt2dbm"), "-f", "SDBM", "-i", tmp_path / "map.txt", "-o", tmp_path / "map"],
        check=True,
        capture_output=True,
    )
    directory, pages = sdbm({b"abc": b"1", b"def": b"2", b"song-1": b"364"})
    assert (tmp_path / "map.pag").read_bytes() == pages
    assert directory == b""


def test_a_pair_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TooLong):
        sdbm({b"a" * 1100: b"1"})


def test_all_pairs_are_on_the_page_of_their_hash() -> None:
    pairs = {b"%032x" % (number * 0x9E3779B97F4A7C15): b"%d" % number for number in range(5000)}
    directory, pages = sdbm(pairs)
    assert (len(directory) % 4096, len(pages) % 1024) == (0, 0)
    assert all(key in pages for key in pairs)


SEGMENTS = ("{work}", "a-{work}", "{work}-b", "{work}.mp3", "{work}_128.mp3", "a-{work}.mp3", "É{work}")
PARTS = st.tuples(
    st.sampled_from(["/", "/audio/", "/Audio/", "/audio/*/", "/x/**/"]), st.sampled_from(["", "/**", "/low", "/*.ts"])
)
WORK_PATTERNS = st.tuples(PARTS, st.lists(st.sampled_from(SEGMENTS), min_size=2, max_size=3, unique=True), PARTS).map(
    lambda drawn: [
        f"{before}{segment}{after}"
        for segment, (before, after) in zip(drawn[1], (drawn[0], drawn[0], drawn[2]), strict=False)
    ]
)
NAMES_IN_SEGMENTS = ("song", "Song", "song_128", "a-song", "song-b", "éa")
NUMBERS = st.sampled_from([NO, YES, Choice.UNSET])


@settings(deadline=None, max_examples=300)
@given(
    WORK_PATTERNS,
    st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES_IN_SEGMENTS, NUMBERS)),
    st.booleans(),
)
def test_the_name_by_the_most_specific_pattern_carries_what_is_wished_under_the_others(patterns, choices, decide):
    if not can_be_looked_up(patterns):
        return
    text = f"extends: no-training\nusages: {{train-ai: {'no' if decide else 'yes'}}}\nworks: {patterns!r}\n"
    works = [WorkWishes(name, {Usage.TRAIN_AI: choice}) for name, choice in choices.items()]
    index = WishIndex(works)
    creators = Creators(decide=decide, index=index)
    with_wishes = replace(policy(text.encode()), creators=creators)
    table = DecisionTable(with_wishes, load_catalog())
    looked_up = WorkMap(works, table)
    (whole, *_) = table.path_policies
    for pattern, name in product(patterns, NAMES_IN_SEGMENTS):
        names = with_wishes.works.names_of(pattern.replace("{work}", name).replace("**", "low").replace("*", "z"))
        judged = looked_up.wished_on(whole, index.strictest(names))
        found = looked_up.wished_on(whole, looked_up.keys.get(ascii_lower(names[0]), UNSET) if names else UNSET)
        assert found.usages[Usage.TRAIN_AI].strictness >= judged.usages[Usage.TRAIN_AI].strictness


def test_a_song_is_as_its_file_of_another_quality_is_wished():
    creators = Creators(index=WishIndex([WorkWishes("song_128", TRAIN)]))
    text = b"extends: no-training\nusages: {train-ai: yes}\nworks: ['/audio/{work}.mp3', '/audio/{work}_128.mp3']\n"
    table = DecisionTable(replace(policy(text), creators=creators), load_catalog())
    looked_up = WorkMap([WorkWishes("song_128", TRAIN)], table)
    assert looked_up.keys == dict.fromkeys(("song", "song_128"), number_of(TRAIN))
    assert looked_up.works == 1


@pytest.mark.parametrize(
    ("patterns", "can"),
    [
        (["/audio/{work}.mp3", "/audio/{work}_128.mp3"], True),
        (["/audio/{work}.mp3", "/hls/{work}/**", "/{work}"], True),
        (["/hls/{work}/**", "/hls/live/{work}/**"], False),
        (["/hls/{work}/**", "/**/{work}"], False),
        (["/a/{work}-?.ogg", "/a/{work}.ogg"], False),
        (["/a/*/{work}", "/A/x/{work}/**"], True),
        (["/a/*/{work}", "/A/{work}/**"], False),
    ],
)
def test_patterns_of_which_one_name_tells_the_others_are_looked_up(patterns, can):
    assert can_be_looked_up(patterns) is can
