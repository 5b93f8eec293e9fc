"""`noai-guard serve` that cannot start: one line and an exit code. tests/server/test_serve_command.py has the rest."""

import re
import socket
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.servers import require

Run = Callable[..., Any]

UP = ("--upstream", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--upstream", "localhost:3000"), "write http://host:port"),
        (("--upstream", "http://127.0.0.1:1/app"), "write http://127.0.0.1:1"),
        ((*UP, "--listen", "8080"), "write HOST:PORT"),
        ((*UP, "--metrics", "127.0.0.1:99999"), "write HOST:PORT"),
        ((*UP, "--listen", "127.0.0.1:1"), "is this server itself"),
        ((*UP, "--listen", "0.0.0.0:1"), "is this server itself"),
        (("--upstream", "unix:/run/x", "--listen", "unix:/run/x"), "is this server itself"),
        ((*UP, "--socket-mode", "888"), "write three octal digits"),
        ((*UP, "--workers", "0"), "--workers"),
        ((*UP, "--drain", "soon"), "--drain"),
        ((*UP, "--policy", "bad.yaml"), "bad.yaml:1:7: P0"),
        (("--policy", "bad.yaml"), "bad.yaml:1:7: P0"),
        ((*UP, "--policy", "none.yaml"), "none.yaml: P001"),
        (("--upstream", "https://127.0.0.1:1", "--upstream-ca", "no.pem"), "no.pem cannot be used"),
        (("--upstream", "https://127.0.0.1:1", "--upstream-ca", "none.pem"), "none.pem cannot be used"),
        (("--upstream", "https://127.0.0.1:1", "--upstream-ca", ""), "it is empty; name a file"),
        (("--own-robots", ""), "it is empty; name a file"),
        ((*UP, "--own-robots", "robots.txt"), "--own-robots does nothing with --upstream"),
        ((*UP, "--hold", "1"), "--hold does nothing with --upstream"),
        (("--upstream-ca", "no.pem"), "--upstream-ca does nothing without --upstream"),
        (("--idle-timeout", "9"), "--idle-timeout does nothing without --upstream"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    require("aiohttp", "uvloop")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("mode: nonsense\n")
    (tmp_path / "no.pem").write_text("nothing")
    (line,) = run("serve", *arguments, code=2).stderr.splitlines()
    assert message in line


def test_an_address_that_the_system_refuses_is_one_line_and_exit_code_3(run: Run, tmp_path: Path) -> None:
    require("aiohttp", "uvloop")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (line,) = run("serve", *UP, "--listen", f"127.0.0.1:{taken.getsockname()[1]}", code=3).stderr.splitlines()
    assert "Address already in use" in line
    (line,) = run("serve", *UP, "--listen", f"unix:{tmp_path}/none/x.sock", code=3).stderr.splitlines()
    assert "No such file or directory" in line
    (line,) = run("serve", *UP, "--listen", "no-such-host.invalid:1", code=3).stderr.splitlines()
    assert "cannot listen on no-such-host.invalid:1" in line


def test_a_missing_extra_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_uvloop(name: str) -> ModuleSpec | None:
        return None if name == "uvloop" else find_spec(name)

    monkeypatch.setattr("noai_guard.cli.serve.find_spec", without_uvloop)
    assert "pip install 'noai-guard[serve]'" in run("serve", *UP, code=2).stderr


@pytest.mark.parametrize("name", ["none.txt", "folder", "\x1b[2J"])
def test_serve_says_at_start_that_the_sites_own_robots_txt_cannot_be_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    require("aiohttp", "uvloop")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = ("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        line, _ = run("serve", "--own-robots", name, *listen, code=3).stderr.splitlines()
        assert re.fullmatch(
            r"noai-guard: --own-robots \S+: cannot be read: .*; /robots\.txt is 503 until it can be", line
        )
        assert line.isprintable()
        (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /private\n")
        assert "--own-robots" not in run("serve", "--own-robots", "robots.txt", *listen, code=3).stderr
