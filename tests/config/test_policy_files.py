import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from noai_guard.config import check_policy, check_policy_text, load_policy
from noai_guard.errors import PolicyInvalid, Problem

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.yaml"))
GOOD = sorted((HERE / "good").glob("*.yaml"))
WARNED = sorted((HERE / "warned").glob("*.yaml"))

EXPECTED = re.compile(r"(?m)^# expect: (\d+):(\d+) (\S+) ?(.*)$")
"""Line, column and code of a problem, and words that its line holds."""


def assert_as_expected(file: Path, problems: tuple[Problem, ...]) -> None:
    expected = EXPECTED.findall(file.read_text())
    found = [(str(problem.line), str(problem.column), problem.code) for problem in problems]
    assert found == [(line, column, code) for line, column, code, _ in expected]
    for problem, (*_, words) in zip(problems, expected, strict=True):
        assert words in str(problem)
        assert problem.hint


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_mistake_is_found_where_it_stands(file: Path) -> None:
    policy, problems = check_policy(file)
    assert policy is None
    assert_as_expected(file, problems)


@pytest.mark.parametrize("file", WARNED, ids=lambda file: file.stem)
def test_what_is_odd_but_usable_is_a_warning(file: Path) -> None:
    policy, problems = check_policy(file)
    assert policy is not None
    assert all(problem.warning for problem in problems)
    assert_as_expected(file, problems)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_a_good_file_is_taken_without_a_word(file: Path) -> None:
    policy, problems = check_policy(file)
    assert policy is not None
    assert problems == ()


def test_load_policy_raises_every_problem_in_file_order_and_no_warning() -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(HERE / "bad" / "everything_at_once.yaml")
    lines = [problem.line for problem in caught.value.problems]
    assert lines == sorted(lines)
    assert len(lines) == 9
    assert not any(problem.warning for problem in caught.value.problems)


def test_load_policy_takes_a_file_with_warnings() -> None:
    assert load_policy(HERE / "warned" / "rule_never_reached.yaml").rules[0].id == "first"


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


@pytest.mark.parametrize("text", [b"", b"\n\n", b"# no AI\n", b"---\n", b"\xef\xbb\xbf"])
def test_a_file_that_says_nothing_is_the_stance_no_ai_with_a_warning(text: bytes) -> None:
    policy, (problem,) = check_policy_text(text)
    assert policy is not None
    assert policy.stance == "no-ai"
    assert (problem.code, problem.warning) == ("P021", True)


def test_a_file_over_one_mebibyte_is_refused_unread() -> None:
    policy, (problem,) = check_policy_text(b"#" * (1024 * 1024 + 1))
    assert policy is None
    assert problem.code == "P001"


def test_a_file_of_one_mebibyte_is_read() -> None:
    policy, (problem,) = check_policy_text(b"#" * (1024 * 1024))
    assert policy is not None
    assert problem.code == "P021"


def test_a_missing_file_is_a_problem() -> None:
    policy, (problem,) = check_policy("/nowhere/noai.yaml")
    assert policy is None
    assert str(problem) == (
        "/nowhere/noai.yaml: P001 cannot be read: No such file or directory; `noai-guard init` writes one"
    )


def test_a_stance_given_as_a_file_is_explained() -> None:
    _, (problem,) = check_policy("no-training")
    assert problem.hint == "write a file that says extends: no-training"


def test_a_folder_is_no_policy(tmp_path: Path) -> None:
    policy, (problem,) = check_policy(tmp_path)
    assert policy is None
    assert "directory" in problem.message


@pytest.mark.parametrize("name", ["no\0ai.yaml", "x" * 5000, "/dev/null/noai.yaml", ""])
def test_an_impossible_file_name_is_a_problem(name: str) -> None:
    policy, (problem,) = check_policy(name)
    assert policy is None
    assert problem.code == "P001"


def test_an_endless_file_is_refused() -> None:
    policy, (problem,) = check_policy("/dev/zero")
    assert policy is None
    assert "larger than" in problem.message


def test_a_file_without_permission_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "noai.yaml"
    file.write_text("mode: monitor\n")
    file.chmod(0)

    def refused(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    # Root may read everything, and tests may run as root.
    monkeypatch.setattr(Path, "open", refused)
    policy, (problem,) = check_policy(file)
    assert policy is None
    assert problem.message == "cannot be read: Permission denied"


def test_after_a_hundred_problems_the_rest_is_not_listed_and_the_file_is_refused() -> None:
    text = "".join(f"key{number}: 1\n" for number in range(500))
    policy, problems = check_policy_text(text.encode())
    assert policy is None
    assert len(problems) == 101
    assert [problem.code for problem in problems].count("P023") == 1


def test_many_warnings_do_not_hide_a_mistake_behind_them() -> None:
    rules = "".join(f"  - {{id: r{number}, agents: [GPTBot], action: deny}}\n" for number in range(250))
    policy, problems = check_policy_text(f"rules:\n{rules}mode: of\n".encode())
    assert policy is None
    assert "P009" in {problem.code for problem in problems}
    assert len(problems) <= 101


def test_one_bad_rule_does_not_hide_what_is_wrong_with_the_others() -> None:
    text = b"""rules:
  - deny
  - {agents: GPTBoot, action: deny}
  - {agents: GPTBot, action: deny}
  - {agents: GPTBot, action: allow}
"""
    _, problems = check_policy_text(text)
    assert [(problem.line, problem.code) for problem in problems] == [(2, "P006"), (3, "P017"), (5, "P015")]


def test_a_rule_with_a_mistake_in_it_is_not_held_against_later_rules() -> None:
    _, problems = check_policy_text(b"rules:\n  - {agent: GPTBot, action: deny}\n  - {agents: CCBot, action: allow}\n")
    assert [problem.code for problem in problems] == ["P005"]


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"exemptions: {{agents: [{'GPTBot, ' * 1001}]}}", "more than 1000 entries"),
        ("rules: [" + "{agents: GPTBot, action: deny}, " * 301 + "]", "more than 300 entries"),
        ("paths:\n" + "".join(f"  /{number}/**: {{}}\n" for number in range(501)), "more than 500 entries"),
    ],
)
def test_more_entries_than_can_be_judged_fast_are_refused(text: str, words: str) -> None:
    policy, (problem,) = check_policy_text(text.encode())
    assert policy is None
    assert problem.code == "P008"
    assert words in problem.message


@pytest.mark.thorough
def test_without_libyaml_the_same_mistakes_are_found_at_the_same_places() -> None:
    code = (
        "import sys, yaml, json; del yaml.CSafeLoader; from noai_guard.config import check_policy\n"
        "print(json.dumps([[(p.code, p.line, p.hint) for p in check_policy(f)[1]] for f in sys.argv[1:]]))"
    )
    files = [str(file) for file in (*BAD, *GOOD, *WARNED)]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    here = [[[p.code, p.line, p.hint] for p in check_policy(file)[1]] for file in files]
    there = json.loads(done.stdout)
    assert {file: found for file, found, ours in zip(files, there, here, strict=True) if found != ours} == {}
