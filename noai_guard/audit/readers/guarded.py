"""The guard around every parser of what strangers send: it returns a value for input that makes the parser fail."""

from collections.abc import Callable
from typing import TypeVar

Parsed = TypeVar("Parsed")
Fallback = TypeVar("Fallback")


def guarded(parse: Callable[[], Parsed], fallback: Callable[[Exception], Fallback]) -> Parsed | Fallback:
    """Return what `parse` returns, or what `fallback` makes of the exception that it raises, whichever it is.

    Parsers raise more than they document: html.parser an AssertionError at `<![` (Python 3.11), json a RecursionError.
    """
    try:
        return parse()
    except Exception as error:
        return fallback(error)


def describe(error: Exception) -> str:
    """Return what went wrong, in words for a finding."""
    return str(error) or type(error).__name__
