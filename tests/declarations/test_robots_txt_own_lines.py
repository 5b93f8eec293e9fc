"""A site's own robots.txt in any encoding, what it grants against the policy, and how long the merged file gets."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Agent, PathPolicy, Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations.robots_txt import BEGIN, END, MAX_BYTES, OVERRULED, merge
from noai_guard.declarations.shared.robots_file import is_robots, lines_of
from noai_guard.errors import PolicyTooLong
from tests.declarations.declaration_readers import ProtegoReader, content_signals, google_allows
from tests.declarations.generated_policies import ANY_PATTERNS, PATHS, policies

STANCE = load_stance("no-training")
CATALOG = load_catalog()
SMALL = Catalog((Agent("TrainBot", "Example", (Usage.TRAIN_AI,), ("TrainBot",), "TrainBot"),))
OPEN = {Usage.TRAIN_AI: Action.ALLOW}
CLOSED = {Usage.TRAIN_AI: Action.DENY}
TEXT = "# M\u00fcller\nUser-agent: *\nDisallow: /b\u00fchne/\n"


def policy(*paths: tuple[str, Mapping[Usage, Action]], site: Mapping[Usage, Action] = {}, **changes: Any) -> Policy:
    usages = {**STANCE.usages, **site}
    parts = tuple(PathPolicy(pattern, {**usages, **differing}) for pattern, differing in paths)
    return replace(STANCE, usages=usages, path_policies=parts, **changes)


def merged(own: str, chosen: Policy = STANCE) -> str:
    return merge(own.encode(), CompiledPolicy(chosen, SMALL).robots_groups).decode()


@pytest.mark.parametrize(
    "body",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.encode("utf-32-le"),
        TEXT.encode("utf-32-be"),
    ],
)
def test_a_file_in_an_encoding_of_unicode_is_its_text(body: bytes) -> None:
    assert lines_of(body) == TEXT.split("\n")


def test_a_rule_in_latin_1_is_there_as_its_bytes_and_as_its_characters() -> None:
    lines = lines_of(TEXT.encode("latin-1") + b"Sitemap: https://music.example/\xfc\nAllow: /a # \xe9\n")
    assert lines == [
        "# M\u00fcller", "User-agent: *", "Disallow: /b%FChne/", "Disallow: /b\u00fchne/",
        "Sitemap: https://music.example/\u00fc", "Allow: /a # \u00e9", "",
    ]  # fmt: skip


def test_lines_in_different_encodings_are_each_read_in_their_own() -> None:
    body = "Disallow: /\u00fc1\n".encode() + "# \u201cquoted\u201d\n".encode("cp1252")
    assert lines_of(body) == ["Disallow: /\u00fc1", "# \u201cquoted\u201d", ""]


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"\0", b"\0\0\0", b"a\0b\0c\0\xff", b"\xff\xfea", b"\0" * 900, b"a\0" * 9]
)
def test_any_bytes_have_lines_that_can_be_written(body: bytes) -> None:
    assert "\n".join(lines_of(body)).encode() or not body


@pytest.mark.parametrize(("body", "expected"), [
    (b"User-agent: *\nDisallow: /a", True),
    (b"Sitemap: https://music.example/map.xml", True),
    (b"<pre>\nUser-agent: *\nDisallow: /a\n</pre>", True),
    (b"<p>\nUser agent: what your browser says\n</p>", False),
    (b"Sitemap of this site", False),
    (b"User-agent: *<br>Disallow: /", False),
    (b'{"detail": "Not Found"}', False),
    (b"Disallow: /", False),
    (b"", False),
])  # fmt: skip
def test_what_is_a_robots_txt_is_told_by_its_lines(body: bytes, expected: bool) -> None:
    assert is_robots(body) is expected


def test_of_a_page_only_what_it_says_to_crawlers_is_merged() -> None:
    text = merged("<html>\n<title>a: b</title>\nWelcome\nUser-agent: *\nDisallow: /a\n</html>\n")
    assert "Disallow: /a\n" in text
    assert not re.search("html|title|Welcome", text)


SIGNALS = [
    ("ai-train=yes", ""),
    ("AI-Train = Yes", ""),
    ('ai-train="yes"', ""),
    ("ai-train=yes, search=no, ai-input=yes", "search=no, ai-input=yes"),
    ("search=no ai-train=yes", "search=no"),
    ("search=no; ai-train=yes", "search=no"),
    ("ai-train=no, ai-train=yes", "ai-train=no"),
    ("ai-train", ""),
    ("ai-train=perhaps", ""),
    ("use=full, search=yes", "search=yes"),
]


@pytest.mark.parametrize(("own", "kept"), SIGNALS)
@pytest.mark.parametrize("key", ["Content-Signal:", "content-signal :", "  CONTENT-SIGNAL:\t"])
@pytest.mark.parametrize("switch", [True, False])
def test_a_signal_that_grants_what_is_reserved_is_overruled(own: str, kept: str, key: str, switch: bool) -> None:
    chosen = replace(STANCE, declarations={**STANCE.declarations, "content_signal": switch})
    line = f"{key} {own} # ours"
    text = merged(f"User-agent: TrainBot\nUser-agent: Bingbot\n{line}\nDisallow: /a\n", chosen)
    ours = f"{BEGIN}\nContent-Signal: {kept}\n{END}\n" if kept else ""
    assert f"\n{OVERRULED}{line}\n{ours}Disallow: /a\n" in text
    assert merged(text, chosen) == text
    allowing = policy(site=dict.fromkeys(Usage, Action.ALLOW))
    assert line in merged(text, allowing).split("\n")


@pytest.mark.parametrize("line", [
    "Content-Signal: ai-train=no", "Content-Signal: search=yes, ai-input=yes, use=reference", "Content-Signal: mood=yes",
    "Content-Signal:", "Content-Usage: train-ai=n", "Content-Usage: /a/ search=y", "# Content-Signal: ai-train=yes",
    "Content-Usage: /a/", "Content-Usage: bots=y",
])  # fmt: skip
def test_a_line_that_contradicts_nothing_stays(line: str) -> None:
    assert OVERRULED not in merged(f"User-agent: *\n{line}\nDisallow: /a\n")


def test_a_grant_behind_a_nul_or_17_000_blanks_is_overruled() -> None:
    for own in ("search=no\0, ai-train=yes", f"{' ' * 17_000}ai-train=yes"):
        assert OVERRULED in merged(f"User-agent: *\nContent-Signal: {own}\nDisallow: /a\n")


PRESS = policy(("/press/**", OPEN), ("/press/drafts/**", CLOSED), ("/f\u00eates/**", OPEN), ("/a/*/b", CLOSED))


@pytest.mark.parametrize(("line", "overruled"), [
    ("/press/ train-ai=y", False),
    ("/press/kit train-ai=y", False),
    ("/press/drafts/ train-ai=y", True),
    ("/press/drafts/1.html$ train-ai=y", True),
    ("/press* train-ai=y", True),
    ("/press/*.mp3 train-ai=y", True),
    ("/f%C3%AAtes/ train-ai=y", False),
    ("/f\u00eates/x train-ai=y", False),
    ("/tracks/ train-ai=y", True),
    ("/ train-ai=y", True),
    ("train-ai=y", True),
    ("/a/x/b train-ai=y", True),
    ("/tracks/ train-ai=y, search=n", True),
])  # fmt: skip
def test_a_preference_for_a_path_is_held_against_what_the_policy_says_there(line: str, overruled: bool) -> None:
    text = merged(f"User-agent: *\nContent-Usage: {line}\nDisallow: /a\n", PRESS)
    assert (OVERRULED in text) is overruled
    if "search=n" in line:
        assert f"{BEGIN}\nContent-Usage: /tracks/ search=n\n{END}\n" in text


@settings(max_examples=150, deadline=None)
@given(policies(STANCE, ANY_PATTERNS), PATHS, st.sampled_from(["", "*", "$", "/x"]), st.booleans())
def test_no_grant_of_the_site_beats_the_policy_for_any_path(chosen: Policy, path: str, end: str, switch: bool) -> None:
    chosen = replace(chosen, declarations={**chosen.declarations, "content_usage": switch})
    compiled = CompiledPolicy(chosen, SMALL)
    own = f"User-agent: *\nContent-Usage: {path}{end} train-ai=y\nContent-Signal: ai-train=yes\nDisallow: /zzz\n"
    text = merge(own.encode(), compiled.robots_groups).decode()
    asked = path + ("/x" if end == "/x" else "")
    reserved = compiled.guard.table.path_class(asked).path_policy.reserves(Usage.TRAIN_AI)
    if reserved:
        assert f"\nContent-Usage: {path}{end} train-ai=y" not in text
    if any(part.reserves(Usage.TRAIN_AI) for part in chosen.all_path_policies):
        signals = re.findall(r"^Content-Signal: (.*)$", text, re.MULTILINE)
        assert all(content_signals(value).get("ai-train", "no") == "no" for value in signals)


NAMES = ["".join(chr(0x430 + (n * 7 + k * 5) % 32) for k in range(24)) + f"-{n}" for n in range(500)]
OWN = b"User-agent: *\n" + b"".join(b"Disallow: /private/%04d\n" % n for n in range(4000))


@pytest.mark.parametrize("section", [OPEN, {Usage.TRAIN_AI: Action.DENY, Usage.SEARCH: Action.DENY}])
@pytest.mark.parametrize("own", [b"", OWN])
def test_a_policy_with_long_paths_refuses_within_the_limit(section: Mapping[Usage, Action], own: bytes) -> None:
    chosen = policy(*((f"/{name}/**", section) for name in NAMES))
    compiled = CompiledPolicy(chosen, CATALOG)
    compiled.merge_own_robots(own)
    body = compiled.documents["/robots.txt"].body
    assert 200_000 < len(body) <= MAX_BYTES
    assert not google_allows(body, "GPTBot", "/tracks/a.mp3")
    assert not ProtegoReader(body).allows("GPTBot", "/tracks/a.mp3")
    assert google_allows(body, "GPTBot", "/robots.txt")
    refused = Usage.SEARCH in section
    for path in (f"/{NAMES[0]}/a", f"/{NAMES[-1]}/a"):
        assert ProtegoReader(body).allows("Googlebot", path) is not refused
    assert ProtegoReader(body).allows("Googlebot", "/tracks/a.mp3")
    assert not own or not google_allows(body, "Googlebot", "/private/3999")
    assert any("lines that refuse nothing or repeat are left out" in sentence for sentence in compiled.limitations)
    for value in re.findall(r"^Content-Usage: ([^/\n]*)$", body.decode(), re.MULTILINE):
        assert "train-ai=n" in value
    assert merge(body, compiled.robots_groups) == body


def test_a_site_whose_own_file_does_not_fit_is_told_how_much_of_it_is_left_out() -> None:
    compiled = CompiledPolicy(STANCE, CATALOG)
    assert not any("500 KiB" in sentence for sentence in compiled.limitations)
    compiled.merge_own_robots(OWN * 6)
    assert len(compiled.documents["/robots.txt"].body) <= MAX_BYTES
    assert re.search(r"the last \d+ lines of the site's own robots.txt are left out", "\n".join(compiled.limitations))


def test_refusals_that_do_not_fit_are_a_problem_of_the_policy() -> None:
    sections = [(f"/{name * 8}/**", {Usage.SEARCH: Action.DENY}) for name in NAMES]
    with pytest.raises(PolicyTooLong) as raised:
        CompiledPolicy(policy(*sections), CATALOG)
    assert [problem.code for problem in raised.value.problems] == ["P024"]
    CompiledPolicy(policy(*sections, declarations={**STANCE.declarations, "robots_txt": "off"}), CATALOG)


def test_of_a_file_that_grows_when_it_is_merged_as_much_is_kept_as_fits() -> None:
    compiled = CompiledPolicy(STANCE, SMALL)
    grants = b"".join(b"Content-Usage: /%d/ train-ai=y\n" % n for n in range(20_000))
    compiled.merge_own_robots(b"User-agent: *\nDisallow: /backstage/\n" + grants)
    body = compiled.documents["/robots.txt"].body
    assert MAX_BYTES - 1000 < len(body) <= MAX_BYTES
    assert not google_allows(body, "Googlebot", "/backstage/a")
    assert merge(body, compiled.robots_groups) == body
    overruled = [sentence for sentence in compiled.limitations if "overruled" in sentence]
    assert len(overruled) == 6
    assert re.search(r"\d+ more lines of the site's own grant what the policy reserves", overruled[-1])
