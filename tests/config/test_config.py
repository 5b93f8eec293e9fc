import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from noai_guard.config import (
    check_policy,
    check_policy_text,
    load_catalog,
    load_policy,
    rules_folder,
    sample_user_agent,
)
from noai_guard.config.catalogue_schema import read_browsers
from noai_guard.errors import PolicyInvalid, Problem

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.yaml"))
GOOD = sorted((HERE / "good").glob("*.yaml"))
WARNED = sorted((HERE / "warned").glob("*.yaml"))

EXPECTED = re.compile(r"(?m)^# expect: (\d+):(\d+) (\S+) ?(.*)$")
"""Line, column and code of a problem, and a part of its text."""


def assert_as_expected(file: Path, problems: tuple[Problem, ...]) -> None:
    expected = EXPECTED.findall(file.read_text())
    actual = [(str(problem.line), str(problem.column), problem.code) for problem in problems]
    assert actual == [(line, column, code) for line, column, code, _ in expected]
    for problem, (*_, words) in zip(problems, expected, strict=True):
        assert words in str(problem)
        assert problem.hint


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_mistake_is_reported_with_its_line_and_column(file: Path) -> None:
    policy, problems = check_policy(file)
    assert policy is None
    assert_as_expected(file, problems)


@pytest.mark.parametrize("file", WARNED, ids=lambda file: file.stem)
def test_an_odd_but_usable_file_has_warnings(file: Path) -> None:
    policy, problems = check_policy(file)
    assert policy is not None
    assert all(problem.warning for problem in problems)
    assert_as_expected(file, problems)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_a_good_file_has_no_problems(file: Path) -> None:
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


@pytest.mark.parametrize("text", [b"", b"\n\n", b"# no AI\n", b"---\n", b"\xef\xbb\xbf"])
def test_a_file_that_says_nothing_is_the_stance_no_ai_with_a_warning(text: bytes) -> None:
    policy, (problem,) = check_policy_text(text)
    assert policy is not None
    assert policy.stance == "no-ai"
    assert (problem.code, problem.warning) == ("P021", True)


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
    assert problem.hint == "name a readable file"


@pytest.mark.parametrize("name", ["no\0ai.yaml", "x" * 5000, "/dev/null/noai.yaml", ""])
def test_an_impossible_file_name_is_a_problem(name: str) -> None:
    policy, (problem,) = check_policy(name)
    assert policy is None
    assert problem.code == "P001"


def test_a_file_that_is_too_large_is_refused_and_not_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "noai.yaml"
    with file.open("wb") as stream:
        stream.truncate(2**40)
    policy, (problem,) = check_policy(file)
    assert policy is None
    assert "larger than" in problem.message


def test_a_file_without_permission_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "noai.yaml"
    file.write_text("mode: monitor\n")
    file.chmod(0)

    def refused(path: object, flags: int) -> None:
        raise PermissionError(13, "Permission denied")

    # Root may read everything, and tests may run as root.
    monkeypatch.setattr("noai_guard.config.regular_file.os.open", refused)
    policy, (problem,) = check_policy(file)
    assert policy is None
    assert problem.message == "cannot be read: Permission denied"


@pytest.mark.thorough
def test_without_libyaml_the_same_mistakes_are_found_at_the_same_places() -> None:
    code = (
        "import sys, yaml, json; del yaml.CSafeLoader; from noai_guard.config import check_policy\n"
        "print(json.dumps([[(p.code, p.line, p.hint) for p in check_policy(f)[1]] for f in sys.argv[1:]]))"
    )
    files = [str(file) for file in (*BAD, *GOOD, *WARNED)]
    process = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    here = [[[p.code, p.line, p.hint] for p in check_policy(file)[1]] for file in files]
    there = json.loads(process.stdout)
    assert {file: theirs for file, theirs, ours in zip(files, there, here, strict=True) if theirs != ours} == {}


@pytest.mark.parametrize(("agent", "source"), [("GPTBot", "openai"), ("CCBot", "common-crawl")])
def test_the_sample_of_an_agent_names_it(agent: str, source: str) -> None:
    match = load_catalog().find(sample_user_agent(agent, source).encode())
    assert match is not None
    assert match.name == agent


def test_the_sample_without_an_agent_is_a_browser() -> None:
    browsers = read_browsers(rules_folder() / "browsers.yaml")
    assert sample_user_agent() in {user_agent for group in browsers.values() for user_agent in group}
