"""noai-guard: a music site says "no AI" once; declared everywhere, enforced, counted."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noai_guard.catalog import Catalog
    from noai_guard.errors import Invalid, NoAIGuardError, Problem
    from noai_guard.guard import Guard
    from noai_guard.loading import load_catalog, load_policy, load_stance
    from noai_guard.model import Action, Request, Verdict
    from noai_guard.serve.asgi import NoAIMiddleware

__version__ = "0.1.0"

_HOMES = {
    "Action": "model",
    "Catalog": "catalog",
    "Guard": "guard",
    "Invalid": "errors",
    "NoAIGuardError": "errors",
    "NoAIMiddleware": "serve.asgi",
    "Problem": "errors",
    "Request": "model",
    "Verdict": "model",
    "load_catalog": "loading",
    "load_policy": "loading",
    "load_stance": "loading",
}

__all__ = ["Action", "Catalog", "Guard", "Invalid", "NoAIGuardError", "NoAIMiddleware", "Problem", "Request",
           "Verdict", "load_catalog", "load_policy", "load_stance"]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Names are fetched when first used, so that the command line need not import a web framework's world."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
