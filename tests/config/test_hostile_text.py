"""`check_policy_text` never raises, and always answers with a policy or with a mistake."""

from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text
from noai_guard.core.catalog import Catalog
from noai_guard.errors import Problem

GOOD = [file.read_bytes() for file in sorted((Path(__file__).parent / "good").glob("*.yaml"))]
FRAGMENTS = [
    b"\t", b"\r", b"\n", b"  ", b"- ", b": ", b"? ", b"| \n", b"> \n", b"&a ", b"*a ", b"!!str ", b"!!python/object:x ",
    b"<<: ",
    b"[", b"]", b"{", b"}", b"'", b'"', b"#", b"%", b"@", b"`", b"~", b"null", b"yes", b"no", b".inf", b"0x1F", b"1:30",
    b"2026-01-01", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\xed\xa0\x80", b"---\n", b"...\n",
    b'"\\ud800"', b'"\\r\\nX: y"', b"/**", b"/**/**", b"https://[", b"9" * 5000, b"\xf0\x9d\x84\x9e", b"unix:",
    b"::1%eth0",
]  # fmt: skip


def answer(text: bytes) -> tuple[Problem, ...]:
    policy, problems = check_policy_text(text)
    assert (policy is None) == any(not problem.warning for problem in problems)
    for problem in problems:
        assert str(problem).isprintable()
        assert problem.line <= text.count(b"\n") + text.count(b"\r") + text.count(b"\x85") + text.count(b"\xe2") + 2
    if policy is not None:
        CompiledPolicy(policy, Catalog(()))
    return problems


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xff\xfe\x00")
@example(b"\xfe\xff")
@example(b"%YAML 9.9\n---\n")
@example(b"? \n? \n")
@example(b"{null: 1, true: 2, 3: 4, ~: 5}")
@example(b"[[]]: x")
def test_no_bytes_make_the_loader_fail(text: bytes) -> None:
    answer(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_no_characters_make_the_loader_fail(text: str) -> None:
    answer(text.encode("utf-8", "surrogatepass"))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    text = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 12))
        text = text[:start] + draw(st.sampled_from([b"", *FRAGMENTS])) + text[start + length :]
    return text


@settings(max_examples=1000, deadline=None)
@given(damaged())
def test_no_damage_to_a_good_file_makes_the_loader_fail(text: bytes) -> None:
    answer(text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_value_in_the_place_of_another_makes_the_loader_fail(data: st.DataObject) -> None:
    value = data.draw(st.sampled_from([fragment.decode("latin-1") for fragment in FRAGMENTS]))
    text = data.draw(st.sampled_from([file.decode() for file in GOOD]))
    lines = text.split("\n")
    number = data.draw(st.integers(0, len(lines) - 1))
    key, colon, _ = lines[number].partition(":")
    lines[number] = f"{key}{colon} {value}"
    answer("\n".join(lines).encode())
