"""The shapes of ASGI 3 (asgi.readthedocs.io, read 2026-11-23), as far as types can say them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]
"""Types of scope, receive and send; frameworks have types of their own for these."""
