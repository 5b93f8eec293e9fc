"""The guard of a proxied site."""

from noai_guard.asgi_types import Scope
from noai_guard.middleware.asgi import NoAIMiddleware
from noai_guard.middleware.asgi_request import R, read_scope


def _read_target(scope: Scope, request: R) -> R:
    read_scope(scope, request)
    request.raw_paths = (scope["raw_path"],)
    return request


class ProxyGuard(NoAIMiddleware):
    """NoAIMiddleware in front of a server that reads the path as it was sent, not as this one decodes it."""

    _reader = staticmethod(_read_target)
    _peer_is_real = True
