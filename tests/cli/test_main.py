import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from noai_guard import __version__, cli
from noai_guard.cli import COMMANDS, GROUPS
from tests.cli.conftest import Run, Write

HEAVY = ("yaml", "prometheus_client", "starlette", "user_agents", "uvicorn", "asyncio")


def python(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]


def test_help_names_every_command_with_a_line_and_examples(run: Run) -> None:
    text = run("--help").stdout
    assert all(f"  {name} " in text and line in text for name, line in COMMANDS.items())
    assert "Examples:" in text


def test_commands_stand_under_headings_and_each_once(run: Run) -> None:
    sections = run("--help").stdout.split("\n\n")
    for heading, commands in GROUPS.items():
        (section,) = (each for each in sections if each.startswith(f"{heading}:\n"))
        assert [line.split()[0] for line in section.splitlines()[1:]] == list(commands)
    assert sum(map(len, GROUPS.values())) == len(COMMANDS)
    lines = [
        line for each in sections for line in each.splitlines() if line.split()[:1] and line.split()[0] in COMMANDS
    ]
    assert len({line.index(COMMANDS[line.split()[0]]) for line in lines}) == 1


def test_every_command_of_the_package_has_a_heading() -> None:
    files = Path(cli.__file__).parent.glob("*.py")
    commands = {file.stem for file in files if re.search(rf'(?m)^@click\.\w+\("{file.stem}"', file.read_text())}
    assert commands == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_examples_of_itself(run: Run, name: str) -> None:
    if name == "rules":
        assert "Example" in run("rules", "check", "--help").stdout
        assert "Example" in run("rules", "compile", "--help").stdout
    else:
        assert f"noai-guard {name}" in run(name, "--help").stdout.partition("Examples:")[2]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom noai_guard.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n"
        f"    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    assert python("-c", code).stderr.strip() == "[]"


def test_the_module_is_the_command() -> None:
    answer = python("-m", "noai_guard", "--version")
    assert (answer.returncode, answer.stdout) == (0, f"noai-guard, version {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["chek"],
        ["check", "--bogus"],
        ["explain", "--policy", "/nowhere/noai.yaml"],
        ["explain", "--header", "no colon"],
        ["explain", "--ip", "example.org"],
        ["explain", "--ua", "a\nb"],
        ["agents", "--operator", "OpenAy"],
        ["agents", "--usage", "training"],
        ["build", "--out", "/proc/nowhere"],
        ["build", "--out", "out", "--merge", "/nowhere/robots.txt"],
        ["init", "--out", "/nowhere/noai.yaml"],
        ["completion", "tcsh"],
        ["rules", "check", "--rules", "/nowhere"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_with_a_hint_and_exit_code_2(run: Run, arguments: list[str]) -> None:
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert ";" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "guess"),
    [
        (["chek"], "did you mean 'check'?"),
        (["Explain"], "did you mean 'explain'?"),
        (["rules", "chek"], "did you mean 'check'?"),
        (["check", "--formt", "json"], "did you mean '--format'?"),
        (["config", "ngnix"], "did you mean nginx?"),
        (["config", "Apache2"], "did you mean apache?"),
        (["agents", "GTPBot"], "did you mean 'GPTBot'?"),
    ],
    ids=" ".join,
)
def test_what_is_misspelt_is_guessed(run: Run, arguments: list[str], guess: str) -> None:
    assert run(*arguments, code=2).stderr.endswith(f"; {guess}\n")


@pytest.mark.parametrize("arguments", [["completion"], ["schema"], ["config", "--bogus"], ["agents", "--format", "x"]])
def test_choices_stand_on_one_line_without_escapes(run: Run, arguments: list[str]) -> None:
    result = run(*arguments, code=2)
    assert "\\" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_policy_that_cannot_be_used_is_listed_problem_by_problem(run: Run, write: Write) -> None:
    file = write("mode: enforced\nsight: {}\n")
    lines = run("explain", "--policy", file, code=2).stderr.splitlines()
    assert [line.removeprefix(file).split(" ")[0] for line in lines] == [":1:7:", ":2:1:"]


def test_a_reader_that_goes_away_is_no_error() -> None:
    writer = subprocess.Popen(
        [sys.executable, "-m", "noai_guard", "agents", "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert writer.stdout
    assert writer.stderr
    writer.stdout.close()
    assert writer.wait(timeout=60) == 0
    assert writer.stderr.read() == b""
    writer.stderr.close()


@pytest.mark.parametrize(
    "arguments",
    [["agents"], ["check", "-"], ["explain"], ["classify"], ["init", "--out", "-"], ["--help"]],
    ids=" ".join,
)
@pytest.mark.parametrize("stream", [0, 1, 2], ids=["stdin", "stdout", "stderr"])
def test_a_standard_stream_that_is_closed_is_no_error(arguments: list[str], stream: int) -> None:
    code = f"import os; os.close({stream}); os.execv({sys.executable!r}, {[sys.executable, '-m', 'noai_guard', *arguments]!r})"
    answer = python("-c", code, input="")
    assert (answer.returncode, "Traceback" in answer.stderr) == (0, False)


def test_a_full_disk_is_one_line_and_exit_code_2() -> None:
    with open("/dev/full", "w") as full:
        writer = subprocess.run(
            [sys.executable, "-m", "noai_guard", "agents"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert writer.returncode == 2
    assert writer.stderr == "noai-guard: the output: No space left on device; write it elsewhere\n"


def test_text_that_the_terminal_cannot_show_is_escaped() -> None:
    western = {**os.environ, "PYTHONIOENCODING": "iso-8859-1", "PYTHONUTF8": "1"}
    answer = python("-m", "noai_guard", "explain", "--path", "/żółw", env=western, encoding="latin-1")
    assert (answer.returncode, answer.stdout.splitlines()[0]) == (0, "GET /\\u017có\\u0142w")


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What the command prints when its standard output is a terminal of 60 columns."""
    import pty

    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "noai_guard", *arguments],
        stdout=follower,
        env={**os.environ, "COLUMNS": "60", "TERM": "xterm", **environment},
    ) as process:
        os.close(follower)
        shown = b""
        try:
            while block := os.read(leader, 65536):
                shown += block
        except OSError:  # Linux says so at the end of a terminal
            pass
        os.close(leader)
        assert process.wait(timeout=60) == 0
    return shown.decode()


def test_a_terminal_gets_a_table_that_fits_in_colour() -> None:
    shown = on_a_terminal("agents", "--operator", "OpenAI", NO_COLOR="")
    assert "\x1b[31m" in shown
    assert shown.splitlines()[0].removeprefix("\x1b[1m").startswith("name")


def test_no_color_is_respected_and_lines_fit() -> None:
    shown = on_a_terminal("agents", "--ai", NO_COLOR="1")
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 60


def test_a_pipe_gets_neither_colour_nor_a_header(run: Run) -> None:
    first = run("agents", "--operator", "OpenAI").stdout.splitlines()[0]
    assert "\x1b" not in first
    assert len(first.split("\t")) == 6


def parameters(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    for each in getattr(command, "commands", {}).values():
        yield from parameters(each)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_takes_an_empty_name_of_a_file_as_a_shell_makes_it_of_a_variable_that_is_not_set(name: str) -> None:
    from noai_guard.cli.options import FileName

    for parameter in parameters(import_module(f"noai_guard.cli.{name}").command):
        names_files = isinstance(parameter.type, click.Path) or parameter.make_metavar(click.Context(cli.main)) in (
            "FILE",
            "DIR",
            "FOLDER",
        )
        if names_files:
            assert isinstance(parameter.type, FileName), parameter
            with pytest.raises(click.BadParameter, match="it is empty; name a file or folder"):
                parameter.type.convert("", parameter, None)


@pytest.mark.parametrize(
    "command", ["explain --ua x --policy", "check", "build --out public --policy", "tag x --policy"]
)
def test_a_file_name_that_would_command_the_terminal_is_shown_escaped(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    output = run(*command.split(), "a\x1b[2J\nb", code=2).output
    assert output.startswith(
        r"a\x1b[2J\nb: P001 cannot be read: No such file or directory; `noai-guard init` writes one"
    )


@pytest.mark.parametrize(
    "command",
    [
        "init --force",
        "report --since 2026-10 --events events.jsonl",
        "evidence --operator OpenAI --since 2026-10 --events events.jsonl",
        "creators export --database sqlite:///wishes.sqlite",
    ],
)
def test_no_command_puts_a_file_in_the_place_of_a_link_a_pipe_or_a_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("events.jsonl").write_text("")
    run("creators", "invite", "Ines", "--page", "https://a.example/", "--database", "sqlite:///wishes.sqlite")
    Path("link").symlink_to("events.jsonl")
    os.mkfifo("pipe")
    Path("folder").mkdir()
    for name, said in {"link": "is a link", "pipe": "is no regular file", "folder": "is a folder"}.items():
        before = Path(name).lstat()
        (line,) = run(*command.split(), "--out", name, code=2).stderr.splitlines()
        assert f"{name} {said}; name " in line
        assert Path(name).lstat() == before


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("ledger publish", "Missing option '--author' (Who promises this, for the public (NOAI_LEDGER_AUTHOR)); "),
        ("report", "Missing option '--since' (First month, day or moment, in UTC: 2026-10); "),
    ],
)
def test_an_option_that_is_missing_is_explained(run: Run, command: str, said: str) -> None:
    assert run(*command.split(), code=2).stderr == f"noai-guard: {said}noai-guard {command} --help shows how\n"
