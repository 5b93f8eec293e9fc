"""noai-guard: a music site says "no AI" once; declared everywhere, enforced, counted."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from noai_guard.version import __version__

if TYPE_CHECKING:
    from noai_guard.config import load_catalog, load_policy, load_stance
    from noai_guard.core.guard import Guard
    from noai_guard.core.model import Action, Verdict
    from noai_guard.core.request import PlainRequest
    from noai_guard.errors import Invalid, NoAIGuardError
    from noai_guard.middleware.asgi import NoAIMiddleware
    from noai_guard.middleware.wsgi import NoAIWSGIMiddleware
    from noai_guard.observability.metrics_app import metrics_app

_HOMES = {
    "Action": "core.model",
    "Guard": "core.guard",
    "Invalid": "errors",
    "NoAIGuardError": "errors",
    "NoAIMiddleware": "middleware.asgi",
    "NoAIWSGIMiddleware": "middleware.wsgi",
    "PlainRequest": "core.request",
    "Verdict": "core.model",
    "load_catalog": "config",
    "load_policy": "config",
    "load_stance": "config",
    "metrics_app": "observability.metrics_app",
}

__all__ = ["Action", "Guard", "Invalid", "NoAIGuardError", "NoAIMiddleware", "NoAIWSGIMiddleware", "PlainRequest",
           "Verdict", "__version__", "load_catalog", "load_policy", "load_stance", "metrics_app"]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Return a name, imported when it is first used: the command line need not import a web framework's world."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
