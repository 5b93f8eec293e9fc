"""Normalise request paths, and list the other readings of ambiguous ones.

`normal_path` is the only reading of `scope["path"]`. Path patterns are matched against what it returns.
"""

import re
from urllib.parse import unquote

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


# Two slashes, a dot segment (plain or encoded), a backslash, `;`, and what `%2F`, `%5C`, `%3B` and `%25` hide.
_READ_DIFFERENTLY = re.compile(rb"//|(?:/|%2F)(?:\.|%2E)|[\\;]|%(?:2F|5C|3B|25)", re.IGNORECASE)
_PARAMETERS = re.compile(r";[^/]*")
_HOST_IN_FRONT = re.compile(r"//[^/]*")


def other_readings(raw: bytes) -> tuple[str, ...]:
    """Return the other paths that a server may read in the raw path of a request, beside `normal_path(unquote(raw))`.

    Servers and frameworks are known to leave dot segments alone (routing by prefix), to leave `%2F` in its segment
    (Apache, Node), to cut `;parameters` off before dot segments are resolved (Tomcat, Jetty), to read a backslash
    as a slash (IIS), to take `//host` in front for a host (`new URL(target, base)`, PHP's `parse_url`), and to
    decode twice. A proxy that passes `raw` on to an unknown server judges these too; the strictest verdict counts.

    Every result is a fixed point of `normal_path`. All but a few odd paths have none, at the cost of one regular
    expression.
    """
    if not _READ_DIFFERENTLY.search(raw):
        return ()
    text = raw[:MAX_RAW_PATH].decode("latin-1")
    path = unquote(text)
    twice = unquote(path)
    readings = [
        # Encoded once more, dot segments are not resolved.
        "/".join(part.replace(".", "%2e") if part in (".", "..") else part for part in path.split("/")),
        unquote(re.sub("%2F", "%252F", text, flags=re.IGNORECASE)),
        _HOST_IN_FRONT.sub("", path, count=1) if path.startswith("//") else path,
        twice,
    ]
    readings += [_PARAMETERS.sub("", reading) for reading in (path, unquote(_PARAMETERS.sub("", text)))]
    readings += [reading.replace("\\", "/") for reading in (path, twice)]
    expected = normal_path(path)
    return tuple(dict.fromkeys(normal for reading in readings if (normal := normal_path(reading)) != expected))
