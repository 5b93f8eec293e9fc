"""What the adapter takes from aiohttp is still there, and nobody else takes it."""

from tests.private_names import listed_names, minor_version, used_beside
from tests.servers import require

require("aiohttp")

import aiohttp  # noqa: E402
from aiohttp import connector  # noqa: E402
from aiohttp.client_proto import ResponseHandler  # noqa: E402
from aiohttp.http import StreamWriter  # noqa: E402

from noai_guard.reverse_proxy import aiohttp_adapter  # noqa: E402

CLASSES = (aiohttp.BaseConnector, aiohttp.StreamReader, connector.Connection, ResponseHandler, StreamWriter)
GENERIC = {"close", "connect", "exception", "max_headers", "read", "release", "transport", "write"}
"""Names that aiohttp does not have for itself."""


def names() -> set[str]:
    """Return the names that the docstring lists, without those of classes."""
    return {name for name in listed_names(aiohttp_adapter) if not hasattr(aiohttp, name) and name.islower()}


def test_aiohttp_is_of_the_minor_version_that_the_adapter_was_read_for() -> None:
    assert aiohttp.__version__.startswith(minor_version(aiohttp_adapter) + ".")


def test_every_name_that_the_adapter_relies_on_exists() -> None:
    assert {"should_close", "readany", "enable_chunking", "protocol"} <= names()
    instance_attributes = {"transport"}  # of asyncio's kind, set when the connection is made
    arguments = set(ResponseHandler.set_response_params.__annotations__)
    known = instance_attributes | arguments | {name for each in CLASSES for name in dir(each)}
    assert names() - known == set()


def test_no_other_module_uses_these_names() -> None:
    users = used_beside(aiohttp_adapter, names() - GENERIC)
    assert users.keys() >= {"reverse_proxy/exchange.py", "reverse_proxy/upstream.py"}
    assert not any(users.values()), users
