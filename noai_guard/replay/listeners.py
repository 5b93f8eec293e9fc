"""Refused clients that behave like listeners: probably people, or programs that people listen with."""

from collections.abc import Mapping

MAX_REQUESTS = 300
MAX_WORKS = 40
"""What one person plays in the time of a log, generously; crawlers take more."""

MIN_SIGNALS = 3

SIGNALS: Mapping[str, str] = {
    "refers": "came from pages (Referer)",
    "ranges": "played in parts (Range)",
    "audio": "opened pages, then audio",
    "assets": "loaded what pages are made of",
}
"""Column of a client -> what it shows. Crawlers rarely do one of these things, and hardly ever three."""


def signals(client: Mapping[str, int]) -> tuple[str, ...]:
    """Return what a client did that listeners do, of the sums of a client."""
    return tuple(
        sentence
        for column, sentence in SIGNALS.items()
        if client[column] > 0 and (column != "audio" or client["pages"] > 0)
    )


def is_probably_listener(client: Mapping[str, int]) -> bool:
    """Return True if a client took little, and did at least MIN_SIGNALS of what listeners do."""
    is_small = client["requests"] <= MAX_REQUESTS and client["works"] <= MAX_WORKS
    return is_small and len(signals(client)) >= MIN_SIGNALS
