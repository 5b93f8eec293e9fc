"""Content negotiation for refusals and documents."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.model import HeaderField
from noai_guard.responses.refusal import Format

_MEDIA_PATH = re.compile(
    r"\.(?:m3u8?|mpd|ts|m4s|cmf[avt]|mp[34]|m4[abv]|aac|oga|ogg|opus|flac|wav|aiff?|wma|weba|webm|mov|vtt)\Z",
    re.IGNORECASE,
)
_WEIGHT = re.compile(r"[01](?:\.[0-9]{0,3})?")
_RELEVANT_FIELDS = frozenset({b"accept", b"range", b"icy-metadata", b"sec-fetch-dest", b"x-requested-with"})
_MEDIA_DESTINATIONS = frozenset({b"audio", b"video", b"track", b"image"})
_SCRIPT_DESTINATIONS = frozenset({b"empty", b"script", b"style", b"font"})


def chosen_format(path: str, method: str, headers: Iterable[HeaderField]) -> Format:
    """Return the format of a refusal.

    HTML is for page loads only, JSON for clients that prefer it. Requests for media get plain text, whatever their
    Accept field says.
    """
    relevant: list[bytes] = []
    for name, value in headers:
        if name in _RELEVANT_FIELDS:
            relevant += name, value[:1024]
    return _formats["." in path and _MEDIA_PATH.search(path) is not None, method not in ("GET", "HEAD"), *relevant]


def accepted(media_types: Sequence[str], headers: Iterable[HeaderField]) -> str:
    """Return the one of some media types that a client accepts most (RFC 9110 section 12.5.1); of equals, the first.

    The first, too, where none is accepted: a page is more use to anybody than a 406.
    """
    accept = b",".join(value[:1024] for name, value in headers if name.lower() == b"accept").decode("latin-1").lower()
    weights: dict[str, float] = {}
    for entry in accept.split(","):
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        weights[media_type] = float(weight) if _WEIGHT.fullmatch(weight) else 0.0

    def weight_of(media_type: str) -> float:
        ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        return next((weights[each] for each in ranges if each in weights), 0.0)

    return max(media_types, key=weight_of)


def _format(key: tuple[Any, ...]) -> Format:
    """Return the format for (is a path of media, is from a script, name, value, name, value ...)."""
    accept = b""
    media, script, *relevant = key
    for name, value in zip(relevant[::2], relevant[1::2], strict=True):
        value = value.strip().lower()
        if name == b"accept":
            accept += value + b","
        elif name == b"sec-fetch-dest":
            media = media or value in _MEDIA_DESTINATIONS
            script = script or value in _SCRIPT_DESTINATIONS
        elif name == b"x-requested-with":
            script = script or value == b"xmlhttprequest"
        else:
            media = True
    if media or b"audio/" in accept:
        return Format.TEXT
    page, json = accept.find(b"text/html"), max(accept.find(b"application/json"), accept.find(b"+json"))
    if json >= 0 and (script or not 0 <= page < json):
        return Format.JSON
    return Format.HTML if page >= 0 and not script else Format.TEXT


_formats: BoundedCache[tuple[Any, ...], Format] = BoundedCache(_format, max_entries=256)
"""The same programs ask again and again, with the same few fields."""
