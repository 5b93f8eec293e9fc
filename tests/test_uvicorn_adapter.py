"""What the adapter takes from uvicorn is still there, and nobody else takes it."""

import asyncio
import logging
from typing import Any

import pytest

from tests.private_names import listed_names, minor_version, used_beside
from tests.servers import require

require("h11", "httptools", "uvicorn")

import uvicorn  # noqa: E402
from uvicorn.protocols.http import h11_impl, httptools_impl  # noqa: E402
from uvicorn.server import ServerState  # noqa: E402

from noai_guard import uvicorn_adapter  # noqa: E402

GENERIC = {"app", "client", "config", "disconnected", "headers", "loop", "parser", "scope", "transport", "url"}
"""Names that uvicorn does not have for itself."""


async def app(scope: object, receive: object, send: object) -> None: ...


def uvicorn_objects() -> list[Any]:
    config = uvicorn.Config(app, log_config=None)
    h11: Any = h11_impl
    httptools: Any = httptools_impl
    loop = asyncio.new_event_loop()
    strict = h11.H11Protocol(config, ServerState(), {}, loop)
    fast = httptools.HttpToolsProtocol(config, ServerState(), {}, loop)
    loop.close()
    fast.on_message_begin()
    cycles = [h11.RequestResponseCycle({}, strict.conn, *[None] * 8), httptools.RequestResponseCycle({}, *[None] * 10)]
    return [strict, fast, *cycles, uvicorn.Server(config)]


def test_uvicorn_is_of_the_minor_version_that_the_adapter_was_read_for() -> None:
    assert uvicorn.__version__.startswith(minor_version(uvicorn_adapter) + ".")


def test_every_name_that_the_adapter_relies_on_exists() -> None:
    classes = {"H11Protocol", "HttpToolsProtocol", "RequestResponseCycle", "is_expected"}
    names = listed_names(uvicorn_adapter) - classes
    assert {"capture_signals", "cycle", "on_headers_complete", "response_started"} <= names
    objects = uvicorn_objects()
    assert {name for name in names if not any(hasattr(each, name) for each in objects)} == set()


def test_no_other_module_uses_these_names() -> None:
    names = listed_names(uvicorn_adapter) - GENERIC - {"is_expected"}
    users = used_beside(uvicorn_adapter, names)
    assert users.keys() >= {"gateway/uvicorn_protocol.py", "reverse_proxy/uvicorn_protocol.py"}
    assert not any(users.values()), users


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ASGI callable returned without completing handshake.", True),
        ("Cancel %s running task(s), timeout graceful shutdown exceeded", True),
        ("Exception in ASGI application\n", False),
    ],
)
def test_only_two_reports_of_uvicorn_are_expected(text: str, expected: bool) -> None:
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, text, (1,), None)
    assert uvicorn_adapter.is_expected(record) is expected
