"""Normalise request paths, and list the other readings of ambiguous ones.

Path patterns are matched against what `normal_path` returns. A path that servers are known to read in different ways is
judged under all its `readings`.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, unquote_to_bytes

MAX_PATH = 8192
"""Characters of the longest normal path. What follows is cut off, so only prefixes can match there."""

MAX_RAW_PATH = 65536
"""Characters of a raw path that are read. h11 stops at 64 KiB, proxies at 8 to 32; httptools has no limit.

Beyond it dot segments could still change the meaning of the path, so callers refuse longer ones (414).
"""

_ABSOLUTE_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


def normal_path(raw: str) -> str:
    """Return the one form of an ASGI `scope["path"]`, which servers percent-decode and leave as sent otherwise.

    The result begins with "/" (or is "*", the target of `OPTIONS *`), has no empty and no dot segments, and is
    at most `MAX_PATH` characters long; normalising it again changes nothing. In this order:

    - an absolute-form target (`http://evil.example/y`, as h11, hypercorn and daphne hand it over) loses scheme
      and authority; an empty path is "/"; anything else without a leading slash gets one;
    - runs of slashes become one, then dot segments are removed (RFC 3986 section 5.2.4); a trailing slash stays.

    Everything else is left alone, because the application sees it as it is: letter case, `;parameters`,
    backslashes (no separator in a URI), NUL, `#` and `?` (they were `%23` and `%3F`), lone surrogates. A `%2F`
    was made a slash by the server and counts as one. Nothing is decoded again: after `%252e` the application
    sees `%2e`, three characters that name no directory, and so does the policy.
    """
    if raw == "*" or (len(raw) <= MAX_PATH and raw[:1] == "/" and "//" not in raw and "/." not in raw):
        return raw
    raw = raw[:MAX_RAW_PATH]
    if raw[:1] != "/" and (absolute := _ABSOLUTE_FORM.match(raw)):
        raw = raw[absolute.end() :]
    directory = raw[raw.rfind("/") + 1 :] in ("", ".", "..")
    kept = [segment for segment in raw.split("/") if segment and segment != "."]
    if ".." in kept:
        segments, kept = kept, []
        for segment in segments:
            if segment != "..":
                kept.append(segment)
            elif kept:
                kept.pop()
    path = "/" + "/".join(kept) + ("/" if directory and kept else "")
    if len(path) <= MAX_PATH:
        return path
    path = path[:MAX_PATH]
    # The cut must not leave `.` or `..` behind, which were the beginning of a name.
    return path[: path.rfind("/") + 1] if path.endswith(("/.", "/..")) else path


MAX_ODD_PATH = 1024
"""Characters of the longest odd path of which all readings are made; that takes 1 ms at most (measured 2026-11-29)."""

ODD = r"//|(?:/|%2F)(?:\.|%2E)|[\\;#\x00]|%(?:2F|5C|3B|25|00)|%C[01]%[89AB]|%E0%8|%F0%80"
"""What makes servers read a path in different ways, as sent or decoded, in either letter case: an empty or a dot
segment, a backslash, `;`, `#`, NUL, what `%2F`, `%5C`, `%3B` and `%25` hide, and ASCII in more bytes than UTF-8 allows.
The expression means the same to every engine of regular expressions."""

_ODD_PATH = re.compile(ODD, re.IGNORECASE)
_ODD_TARGET = re.compile(ODD.encode() + rb"|\xC0[\x80-\xBF]|\xC1[\x80-\xBF]|\xE0[\x80-\x9F]|\xF0\x80", re.IGNORECASE)
_OVERLONG = re.compile(rb"[\xC0\xC1][\x80-\xBF]|\xE0[\x80\x81][\x80-\xBF]|\xF0\x80[\x80\x81][\x80-\xBF]")
_PARAMETERS = re.compile(r";[^/]*")
_HOST_IN_FRONT = re.compile(r"//[^/]*")


class Readings(NamedTuple):
    """The paths that servers may read in one: the `plain` one, as `normal_path` reads it, and the `others`.

    All are fixed points of `normal_path`. Not `complete`: there are more, which were not made.
    """

    plain: str
    others: tuple[str, ...] = ()
    complete: bool = True


def readings(path: str | bytes) -> Readings:
    """Return what servers may read in a path: text is decoded once already, bytes are as they were sent.

    Servers and frameworks are known to leave dot segments alone (routing by prefix: Starlette, Flask), to leave `%2F`
    in its segment (Apache, Node), to cut `;parameters` off before dot segments are resolved (Tomcat, Jetty), to read a
    backslash as a slash (IIS), to take `//host` in front for a host (`new URL(target, base)`, PHP's `parse_url`), to
    cut off what follows a `#` (gunicorn, lighttpd), to decode twice, and to take `.`, `/` and a backslash in more
    bytes than UTF-8 allows (RFC 3629 section 3; old decoders), while the same bytes are letters of EUC-JP, GBK and
    EUC-KR.

    All but a few odd paths have one reading, at the cost of one regular expression.
    """
    if isinstance(path, bytes):
        is_odd = _ODD_TARGET.search(path) is not None
        decoded = unquote_to_bytes(path)
        text = decoded.decode("utf-8", "replace")
    else:
        is_odd = _ODD_PATH.search(path) is not None
        text = path
    if len(path) > MAX_PATH or (is_odd and len(path) > MAX_ODD_PATH):
        return Readings(normal_path(text[: MAX_PATH + 1]), complete=False)
    plain = normal_path(text)
    if not is_odd:
        return Readings(plain)
    ways = [text]
    if isinstance(path, bytes):
        kept = re.sub(rb"%2F", b"%252F", path, flags=re.IGNORECASE)
        uncut = unquote_to_bytes(re.sub(rb";[^/]*", b"", path))
        shortest = _OVERLONG.sub(_shortest, decoded)
        ways += [form.decode("utf-8", "replace") for form in (unquote_to_bytes(kept), uncut, shortest)]
    ways = _distinct(ways + [unquote(way) for way in ways])
    ways = _distinct(ways + [_PARAMETERS.sub("", way) for way in ways])
    ways += [way.partition("#")[0] for way in ways if "#" in way]
    ways += [way.replace("\\", "/") for way in ways if "\\" in way]
    ways += [_HOST_IN_FRONT.sub("", way, count=1) for way in ways if way.startswith("//")]
    # Encoded once more, dot segments are not resolved.
    ways += [
        "/".join(part.replace(".", "%2e") if part in (".", "..") else part for part in way.split("/")) for way in ways
    ]
    others = dict.fromkeys(map(normal_path, _distinct(ways)))
    others.pop(plain, None)
    # A server that is written in C may end the path at NUL, wherever that stands after decoding.
    return Readings(plain, tuple(others), complete=isinstance(path, str) or not any("\0" in way for way in ways))


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _shortest(match: re.Match[bytes]) -> bytes:
    """Return the character that an overlong sequence stands for."""
    number = 0
    for byte in match[0][1:]:
        number = number << 6 | byte & 0x3F
    return bytes([(number | (match[0][0] & 1) << 6) & 0x7F if match[0][0] < 0xE0 else number & 0x7F])
