import pytest

from noai_guard.config import check_policy_text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_is_no_mistake(encoding: str) -> None:
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    policy, problems = check_policy_text(f"{mark}site:\n  owner: Björk\n  contct: x\n".encode(encoding))
    assert policy is None
    assert [(problem.line, problem.column, problem.code) for problem in problems] == [(3, 3, "P005")]


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("site:\n  owner: Björk\n".encode("latin-1"), 2, 12, "save it as UTF-8"),
        ("mode: monitor\n".encode("utf-16-le"), 1, 2, "U+0000"),
        (b"site:\n  owner: a\0b\n", 2, 11, "U+0000"),
        (b"site: {owner: \xff\xfe}", 1, 15, "not UTF-8"),
        (b"\xff\xfe\x00\xd8", 1, 1, "not UTF-8"),
        (b"mode: monitor\n\x7f", 2, 1, "U+007F"),
    ],
)
def test_a_file_that_is_not_text_says_where(text: bytes, line: int, column: int, words: str) -> None:
    policy, (problem,) = check_policy_text(text)
    assert policy is None
    assert (problem.code, problem.line, problem.column) == ("P002", line, column)
    assert words in str(problem)


def test_columns_count_characters_and_not_bytes() -> None:
    _, (problem,) = check_policy_text("site: {owner: 音楽 𝄞, contct: x}\n".encode())
    assert problem.column == 21


def test_a_file_over_one_mebibyte_is_refused_unread() -> None:
    policy, (problem,) = check_policy_text(b"#" * (1024 * 1024 + 1))
    assert policy is None
    assert problem.code == "P001"


def test_a_file_of_one_mebibyte_is_read() -> None:
    policy, (problem,) = check_policy_text(b"#" * (1024 * 1024))
    assert policy is not None
    assert problem.code == "P021"


def test_after_two_hundred_problems_the_rest_is_not_listed_and_the_file_is_refused() -> None:
    text = "".join(f"key{number}: 1\n" for number in range(500))
    policy, problems = check_policy_text(text.encode())
    assert policy is None
    assert len(problems) == 201
    assert [problem.code for problem in problems].count("P023") == 1


def test_many_warnings_do_not_hide_a_mistake_behind_them() -> None:
    rules = "".join(f"  - {{id: r{number}, agents: [GPTBot], action: deny}}\n" for number in range(250))
    policy, problems = check_policy_text(f"rules:\n{rules}mode: of\n".encode())
    assert policy is None
    assert "P009" in {problem.code for problem in problems}
    assert len(problems) <= 201


def test_terminal_codes_of_a_file_are_not_repeated_raw() -> None:
    text = b'"\\e[31mkey": 1\npaths: {"/\\u202ea[": {}}\nmode: "\\x1b]0;x\\a"\nrules: [{agents: ["\\u202e"]}]'
    _, problems = check_policy_text(text)
    assert len(problems) == 5
    assert all(str(problem).isprintable() for problem in problems)


@pytest.mark.parametrize("text", [b"[" * 20_000, b"{a: " * 20_000, b"- " * 20_000, b"? " * 20_000])
def test_nesting_of_any_depth_is_refused_at_once(text: bytes) -> None:
    policy, (problem,) = check_policy_text(text)
    assert policy is None
    assert problem.code == "P003"


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    policy, (problem,) = check_policy_text("\n".join(lines).encode())
    assert policy is None
    assert (problem.code, problem.line, problem.column) == ("P003", 1, 5)


def test_more_values_than_anybody_means_are_refused() -> None:
    _, (problem,) = check_policy_text(b"rules: [" + b"[]," * 200_000 + b"]")
    assert problem.code == "P003"
