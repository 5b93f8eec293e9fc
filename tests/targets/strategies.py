"""Hypothesis strategies for User-Agents, tokens, path patterns and request targets."""

from random import Random
from urllib.parse import unquote

from hypothesis import strategies as st

from noai_guard.config import load_catalog
from noai_guard.core.path_patterns import pattern_problem
from noai_guard.core.user_agent_matcher import token_problem

NAMES = sorted(
    {form.removeprefix("^").removesuffix("*") for agent in load_catalog().agents for form in agent.expected_user_agent}
)
"""Every name and host of the catalogue, as in User-Agents."""

AROUND = (
    *" \t\n\r\f\v;,()<>[]{}\"'|/:@?.+%_-\\~*!0aZ\x00\xe9", "://", "https://", "http://www.", "http://u:p@", "//", ".com",
    ".co.uk/", ".x", ".3", "/1.0", "a.bc:80/", "+", "%20", "%2", "%25", "%47", "%%", "\\x22", "\\x4", "\\u0022", "\\u00",
    "\\n", "\\\\", "cubot", "bot", "bots", "Crawler", "spider", "scraper.", "fetcher1", "archiver", "Mozilla/5.0",
    "Mozilla/5.0 (compatible; ", "www.", ":8080/", ":123456/", "mailto:a@b.cd", "node.js",
)  # fmt: skip


def spelled(name: str, seed: int) -> bytes:
    """Return a name as written, in another case, with encoded spaces, with escapes, or cut off."""
    random = Random(seed)
    variant = random.randrange(8)
    if variant == 0:
        name = "".join(random.choice((character.upper(), character.lower())) for character in name)
    elif variant == 1:
        name = name.replace(" ", random.choice(("+", "%20", "_")))
    elif variant == 2:
        name = "".join(random.choice((character, f"%{ord(character):02x}")) for character in name)
    elif variant == 3:
        name = "".join(random.choice((character, f"\\x{ord(character):02X}")) for character in name)
    elif variant == 4:
        name = name[random.randrange(len(name)) :] if random.random() < 0.5 else name[: random.randrange(len(name))]
    return name.encode("latin-1")


def user_agents(names: list[str]) -> st.SearchStrategy[bytes]:
    name = st.builds(spelled, st.sampled_from(names), st.integers(0, 1 << 16))
    around = st.sampled_from([text.encode("latin-1") for text in AROUND])
    repeated = st.builds(lambda text, count: text * count, around, st.sampled_from((1, 2, 9, 260, 500, 1000)))
    piece = st.one_of(name, around, around, around, st.binary(max_size=3))
    usual = st.lists(piece, max_size=14).map(b"".join)
    long = st.lists(st.one_of(piece, repeated), max_size=20).map(b"".join)
    return st.one_of(usual, usual, usual, long)


FORM = st.one_of(
    st.builds(
        lambda start, text, star: start + text + star,
        st.sampled_from(("", "", "^")),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8),
        st.sampled_from(("", "", "*")),
    ),
    st.sampled_from(
        [
            "//a.bc",
            "//bc.de/f",
            "//bc.de/f/",
            "//x.bc.de",
            "//bc.de",
            "a]]b",
            "a]=]",
            'b"c',
            "$a",
            "%[a]",
            "x'y",
            "a\\",
            "bc-*",
            "bc",
        ]
    ),
).filter(lambda form: token_problem(form) is None)
"""Tokens as hostile as a catalogue allows."""

WORD = st.sampled_from(
    ["a", "b", "aa", "Aa", "É", "c.d", "*", "**", "?", "é", "a?", "*b", "b*", "**a", "a**", "-", "日本"]
)
GLOB = (
    st.lists(WORD, max_size=5).map(lambda words: "/" + "/".join(words)).filter(lambda glob: not pattern_problem(glob))
)
TARGET = st.lists(
    st.sampled_from(
        ["/", "/", "a", "b", "aa", "c.d", "-", ".", "..", "/./", "/../", "//", "%2F", "%2e", "%252e", "%C3%A9", "%E6%97%A5",
         "é", "?", "#", "http://", "*", "%", "%4", "%61", ";", "%00", "b" * 9]
    ),
    max_size=12,
)  # fmt: skip
TARGETS = st.builds(lambda start, parts: start + "".join(parts), st.sampled_from(("/", "/", "/", "")), TARGET).filter(
    lambda target: "\ufffd" not in unquote(target)
)
"""Request targets of well-formed UTF-8; servers disagree about others."""

ODD_TARGETS = st.lists(
    st.sampled_from(
        ["/", "/", "a", "b", "aa", "c.d", "-", "B", "Aa", "é", "%C3%A9", "%C3%89", "É", ".", "..", "/./", "/../", "//", "%2F", "%2f", "%2e",
         "%252e", "%252F", "%25", ";", ";x", "%3B", "\\", "%5C", "%5c", "%255c", "%00", "\0", "%c0%ae", "%C0%AF", "%e0%80%af", "%F0%80%80%AF",
         "\udcc0\udcae", "%CA%BF", "?", "#", "*", "b" * 700]
    ),
    max_size=9,
).map(lambda parts: ("/" + "".join(parts)).encode("utf-8", "surrogateescape"))  # fmt: skip
"""Request targets that servers read in different ways."""
