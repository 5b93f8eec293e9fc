"""noai-guard: a music site says "no AI" once; declared everywhere, enforced, counted."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from noai_guard.version import __version__

if TYPE_CHECKING:
    from noai_guard.errors import Invalid, NoAIGuardError
    from noai_guard.guard import Guard
    from noai_guard.loading import load_catalog, load_policy, load_stance
    from noai_guard.model import Action, Request, Verdict
    from noai_guard.serve.asgi import NoAIMiddleware
    from noai_guard.serve.metrics import metrics_app
    from noai_guard.serve.wsgi import NoAIWSGIMiddleware

_HOMES = {
    "Action": "model",
    "Guard": "guard",
    "Invalid": "errors",
    "NoAIGuardError": "errors",
    "NoAIMiddleware": "serve.asgi",
    "NoAIWSGIMiddleware": "serve.wsgi",
    "Request": "model",
    "Verdict": "model",
    "load_catalog": "loading",
    "load_policy": "loading",
    "load_stance": "loading",
    "metrics_app": "serve.metrics",
}

__all__ = ["Action", "Guard", "Invalid", "NoAIGuardError", "NoAIMiddleware", "NoAIWSGIMiddleware", "Request",
           "Verdict", "__version__", "load_catalog", "load_policy", "load_stance", "metrics_app"]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Names are fetched when first used, so that the command line need not import a web framework's world."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
