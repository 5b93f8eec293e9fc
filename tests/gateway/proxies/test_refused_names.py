"""The names by which a proxy refuses agents itself, in its two forms: expressions and a Lua function."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from noai_guard.config import rules_folder
from noai_guard.config.catalogue_schema import read_browsers
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import GatewaySetup, lua_names
from noai_guard.socket_address import SocketAddress
from noai_guard.targets.target import File
from tests.gateway.proxies.running_proxies import (
    BROWSER,
    SCRAPER,
    Environment,
    apache_command,
    compiled_policy,
    fetch,
    start_process,
)
from tests.servers import free_port, require
from tests.targets.conformance import corpus, names_in_context
from tests.targets.web_servers import readable_folder

GATEWAY = SocketAddress("127.0.0.1", 9797)


def setup(text: str = "extends: no-ai\n") -> GatewaySetup:
    return GatewaySetup(compiled_policy(text), GATEWAY, SocketAddress("127.0.0.1", 8080))


@pytest.fixture(scope="module")
def by_expression() -> Callable[[str], bool]:
    expressions = [re.compile(text, re.IGNORECASE) for text in setup().refused_expressions(3800)]
    return lambda user_agent: any(expression.search(user_agent) for expression in expressions)


@pytest.fixture(scope="module", params=["lua51", "lua53", "lua54"])
def in_lua(request: pytest.FixtureRequest) -> Callable[[str], bool]:
    """Envoy has LuaJIT, which is 5.1, Apache mostly 5.1 to 5.3, HAProxy 5.3 or 5.4."""
    require("lupa")
    runtime = import_module(f"lupa.{request.param}").LuaRuntime()
    named: Callable[[str], bool] = runtime.execute("\n".join([*lua_names(setup()), "return names_refused"]))
    return named


def test_nobody_is_refused_by_name_who_would_be_let_in(by_expression: Callable[[str], bool]) -> None:
    guard = setup().compiled.guard
    people = [text for group in read_browsers(rules_folder() / "browsers.yaml").values() for text in group]
    assert len(people) > 500
    assert not [text for text in people if by_expression(text)]
    named = {text for text in map(bytes.decode, corpus()) if by_expression(text)}
    let_in = {text for text in named if not guard.judged("/", text.encode()).action.refuses}
    assert {text.lower() for text in let_in} <= {
        "linkupbot (job aggregator; linkup.com)"
    }  # and Linkup's other bot is not


def test_whoever_is_refused_has_one_of_the_names_or_only_an_address(by_expression: Callable[[str], bool]) -> None:
    guard = setup().compiled.guard
    refused = [text.decode() for text in corpus() if guard.judged("/", text).action.refuses]
    unnamed = {text.lower() for text in refused if not by_expression(text)}
    assert len(refused) > 800
    assert all("://" in text for text in unnamed)
    assert len(unnamed) < 12


def test_expressions_and_lua_find_the_same_names(
    by_expression: Callable[[str], bool], in_lua: Callable[[str], bool]
) -> None:
    texts = [text.decode() for text in (*corpus()[::5], *names_in_context(500)) if text.isascii()]
    assert not [text for text in texts if by_expression(text) is not in_lua(text)]


def configuration(key: str, text: str) -> list[File]:
    """The files that are no documents, which name agents for crawlers to read."""
    return [file for file in PROXIES[key].render(setup(text), "/etc/x") if "documents" not in file.path]


@pytest.mark.parametrize("key", PROXIES)
@pytest.mark.parametrize("text", [
    "extends: no-ai\nmode: monitor\n", "extends: no-ai\nunreadable: log\n", "extends: no-ai\nunreadable: allow\n",
])  # fmt: skip
def test_a_policy_that_refuses_nobody_unread_names_nobody(key: str, text: str) -> None:
    for file in configuration(key, text):
        assert b"gptbot" not in file.content.lower()
        assert not re.search(rb"noai-bad-request|synth\(400", file.content)


@pytest.mark.parametrize("key", PROXIES)
def test_a_policy_that_refuses_everybody_unasked_needs_no_names_for_that(key: str) -> None:
    files = configuration(key, "extends: no-ai\non_unknown: deny\n")
    assert any(b"refuses every request" in file.content for file in files)
    # Traefik asks about the first of several User-Agent lines, Varnish about no request behind a websocket's.
    if key not in ("traefik", "varnish"):
        assert not any(b"gptbot" in file.content.lower() for file in files)


@contextmanager
def changed_apache(origin: int, old: str, new: str) -> Iterator[tuple[list[str], int, Path]]:
    """Yield the command of an Apache with our configuration where a text is replaced, its port and its folder."""
    with readable_folder() as folder:
        environment = Environment(folder, origin, SocketAddress("127.0.0.1", free_port()))
        command, port = apache_command(environment)
        for file in filter(Path.is_file, (folder / "noai-guard-gateway").iterdir()):
            file.write_text(file.read_text().replace(old, new))
        yield command, port, folder


def test_apache_does_not_start_without_luasocket() -> None:
    with changed_apache(9, "/share/lua/", "/share/nowhere/") as (command, _, _):
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode != 0
        assert "LuaSocket is missing" in checked.stderr
        assert (
            subprocess.run([*command, "-D", "NOAI_LUASOCKET", "-t"], capture_output=True, check=False).returncode == 0
        )


def test_apache_that_finds_no_luasocket_after_all_refuses_known_names(origin: int) -> None:
    with changed_apache(origin, 'require, "socket"', 'require, "no-socket"') as (command, port, folder):
        running = start_process(command, port, folder)
        try:
            assert fetch(port, "/", BROWSER).status == 200
            assert fetch(port, "/", SCRAPER).status == 403
            assert "LuaSocket is missing" in (folder / "error.log").read_text()
        finally:
            running.stop()
