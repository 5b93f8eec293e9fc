"""Only regular files are read, and nothing else holds a reader up."""

import os
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from noai_guard.config import check_policy, compile_rules, load_catalog, rules_folder
from noai_guard.config.regular_file import file_identity, read_regular_file, replace_file
from noai_guard.errors import CatalogInvalid, Invalid


def _fifo(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(path.parent)  # the name of a socket is at most 100 bytes long
        try:
            listener.bind(path.name)
        finally:
            os.chdir(before)


IRREGULAR: dict[str, Callable[[Path], object]] = {
    "fifo": _fifo,
    "socket": _socket,
    "folder": Path.mkdir,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "empty device": lambda path: path.symlink_to("/dev/null"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.fixture(params=IRREGULAR)
def irregular(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "noai.yaml"
    IRREGULAR[request.param](path)
    return path


def test_what_is_no_regular_file_is_an_error_at_once(irregular: Path) -> None:
    with pytest.raises(OSError, match=r".") as raised:
        read_regular_file(irregular, 100)
    assert raised.value.strerror
    assert file_identity(irregular) == ()


def test_it_is_a_problem_with_a_code_in_a_policy(irregular: Path) -> None:
    policy, (problem,) = check_policy(irregular)
    assert (policy, problem.code) == (None, "P001")
    assert problem.message.startswith("cannot be read: ")


@pytest.mark.parametrize("name", ["agents/example.yaml", "policies/no-ai.yaml"])
@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "endless device"])
def test_it_is_a_problem_with_a_code_in_the_catalogue(tmp_path: Path, name: str, kind: str) -> None:
    for folder in ("agents", "policies"):
        (tmp_path / folder).mkdir()
    for stance in (rules_folder() / "policies").iterdir():
        (tmp_path / "policies" / stance.name).write_bytes(stance.read_bytes())
    (tmp_path / name).unlink(missing_ok=True)
    IRREGULAR[kind](tmp_path / name)
    with pytest.raises(CatalogInvalid, match="P001 cannot be read"):
        load_catalog(tmp_path)
    with pytest.raises(Invalid, match="P001 cannot be read"):
        compile_rules(tmp_path)


def test_a_fifo_in_the_place_of_the_compiled_rules_is_not_read(tmp_path: Path) -> None:
    for folder in ("agents", "policies", "compiled"):
        (tmp_path / folder).mkdir()
    for file in ((rules_folder() / "policies").iterdir(), [rules_folder() / "agents" / "openai.yaml"]):
        for source in file:
            (tmp_path / source.parent.name / source.name).write_bytes(source.read_bytes())
    _fifo(tmp_path / "compiled" / "rules.json")
    assert load_catalog(tmp_path).agents


def test_a_file_is_read_up_to_a_limit_and_a_number_is_no_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789" * 1000)
    assert read_regular_file(file, 4) == b"0123"
    assert read_regular_file(str(file)) == file.read_bytes()
    assert read_regular_file(file, 0) == b""
    with pytest.raises(TypeError):
        read_regular_file(0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="null"):
        read_regular_file("a\0b")
    assert file_identity("a\0b") == ()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_a_file_whose_size_is_said_to_be_0_is_read_whole() -> None:
    assert b"Threads:" in read_regular_file("/proc/self/status")


def test_the_identity_of_a_file_changes_with_content_link_and_place(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    seen = {file_identity(file)}
    file.write_text("one")
    seen.add(file_identity(file))
    file.write_text("three")
    seen.add(file_identity(file))
    time.sleep(0.02)  # longer than the clock of file systems stands still
    file.write_text("seven")
    os.utime(file, (1, 1))
    seen.add(file_identity(file))
    other = tmp_path / "other"
    other.write_text("seven")
    os.utime(other, (1, 1))
    other.replace(file)
    seen.add(file_identity(file))
    link.symlink_to("file")
    assert file_identity(link) == file_identity(file)
    (tmp_path / "new").symlink_to("nowhere")
    (tmp_path / "new").replace(link)
    assert file_identity(link) == ()
    assert len(seen) == 5


def test_a_file_is_replaced_as_a_whole_and_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    link = tmp_path / "file"
    link.symlink_to(elsewhere)
    replace_file(link, "n\u00e9w", 0o640)
    assert (link.read_text(encoding="utf-8"), link.is_symlink(), elsewhere.read_text()) == ("n\u00e9w", False, "kept")
    assert stat.S_IMODE(link.stat().st_mode) & ~0o640 == 0
    assert sorted(tmp_path.iterdir()) == [elsewhere, link]


def test_a_file_that_cannot_be_replaced_stays_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(folder, "text", 0o640)
    assert list(tmp_path.iterdir()) == [folder]
