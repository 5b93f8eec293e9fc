"""JSON objects of which the site has chosen the keys, such as nginx with `escape=json`: fields are found by the names
that are usual for them, and by what stands there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from noai_guard.replay.addresses import OF_A_LIST, likelihood
from noai_guard.replay.log_format import LogFormat, Row, clf_seconds, json_object, percent_decoded, utf8

Path = tuple[str, ...]
"""The keys under which a value stands, from the outside to the inside."""

_NAMES: Mapping[str, Sequence[str]] = {
    "address": ("remoteaddr", "clientip", "cip", "remoteip", "sourceip", "clientaddr", "clientaddress", "client", "ip",
                "realip", "httpxrealip", "xforwardedfor", "httpxforwardedfor", "remotehost"),
    "time": ("timeiso8601", "timestamp", "timelocal", "datetime", "time", "msec", "ts"),
    "date": ("date",),
    "request": ("request", "requestline"),
    "method": ("requestmethod", "method", "httpmethod", "verb", "csmethod"),
    "target": ("requesturi", "requesturl", "requestpath", "csuristem", "uri", "url", "path", "urloriginal", "urlpath"),
    "status": ("status", "responsestatus", "statuscode", "responsecode", "responsestatuscode", "scstatus"),
    "bytes": ("bodybytessent", "bytessent", "responsebodysize", "responsesize", "responsebodybytes", "scbytes", "size",
              "bytes"),
    "referer": ("httpreferer", "httpreferrer", "referer", "referrer", "requestreferer", "requestreferrer", "csreferer"),
    "user_agent": ("httpuseragent", "useragent", "csuseragent", "requestuseragent", "useragentoriginal", "agent", "ua"),
}  # fmt: skip
"""Field -> names of keys, in small letters and digits only, those of nginx's variables first."""


def _is_request(text: str) -> int:
    method, _, target = text.partition(" ")
    return method.isupper() and target.startswith(("/", "*", "http"))


_SCORES: Mapping[str, Callable[[str], int]] = {
    "address": likelihood,
    "request": _is_request,
    "method": lambda text: text.isalpha() and text.isupper(),
    "target": lambda text: text.startswith(("/", "*", "http")),
    "status": lambda text: len(text) == 3 and text.isdecimal(),
    "bytes": lambda text: text.isdecimal() or text == "-",
}
"""Field -> function that says how likely a text is a value of it. Any text is one of the others."""

_MAX_DEPTH = 4


def _as_text(value: object) -> str | None:
    """Return a value as text, of a list its first; None for what is none."""
    if isinstance(value, list):
        value = value[0] if value else ""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _leaves(value: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, str]]:
    for key, inner in value.items():
        here = (*path, key)
        if isinstance(inner, dict):
            if len(here) < _MAX_DEPTH:
                yield from _leaves(inner, here)
        elif (text := _as_text(inner)) is not None:
            yield here, text


def _plain(text: str) -> str:
    return "".join(character for character in text.lower() if character.isascii() and character.isalnum())


def _objects(lines: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        try:
            value = json_object(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _places(lines: Sequence[str]) -> Mapping[str, Path]:
    """Return where each field stands in the objects of these lines, as far as it is found."""
    scores: dict[tuple[str, Path], int] = {}
    for value in _objects(lines):
        for path, text in _leaves(value):
            for field, names in _NAMES.items():
                if not {_plain(path[-1]), _plain("".join(path[-2:]))}.isdisjoint(names):
                    score = _SCORES[field](text) if field in _SCORES else 1
                    scores[field, path] = scores.get((field, path), 0) + score
    places: dict[str, Path] = {}
    for field, names in _NAMES.items():
        found = {path: score for (of, path), score in scores.items() if of == field and score}
        if found:
            # The client's address is where addresses of the public are; all others go by their names.
            places[field] = max(found, key=lambda path: (found[path] if field == "address" else 0, -_rank(path, names)))
    return places


def _rank(path: Path, names: Sequence[str]) -> int:
    return min(names.index(each) for each in (_plain(path[-1]), _plain("".join(path[-2:]))) if each in names)


def _value(line: Mapping[str, Any], path: Path) -> str | None:
    value: Any = line
    for key in path:
        value = value.get(key)
        if value is None:
            return None
    return _as_text(value)


def _reader(places: Mapping[str, Path]) -> Callable[[Mapping[str, Any]], Row]:
    """Return the function that reads the fields at their places."""
    # What nginx calls $uri is decoded; the line of the request is as it was sent.
    by_line = "request" in places and _plain(places.get("target", ("",))[-1]) != "requesturi"

    def row(line: Mapping[str, Any]) -> Row:
        read = {field: _value(line, path) for field, path in places.items()}
        if by_line or "method" not in read:
            words = (read.get("request") or "").split(" ")
            method, target = (words[0], words[1]) if len(words) > 1 else (None, None)
        else:
            method, target = read["method"], read.get("target")
        time, date = read.get("time"), read.get("date")
        at = f"{date}T{time}" if date and time and time[2:3] == ":" else time or date
        address = (read.get("address") or "").partition(",")[0] or None
        user_agent = read.get("user_agent") or "" if "user_agent" in places else None
        return address, at, method, target, read.get("status"), read.get("bytes"), read.get("referer"), user_agent

    return row


def _with_places(form: LogFormat, lines: Sequence[str]) -> LogFormat:
    """Return the format with the keys that these lines have."""
    places = _places(lines)
    if not {"address", "status"} <= places.keys() or not ({"method", "target"} <= places.keys() or "request" in places):
        return form
    is_cloudfront = "(" in places.get("user_agent", ("",))[-1]
    keys = ", ".join(".".join(places[field]) for field in ("address", "user_agent") if field in places)
    lists = any("," in (_value(value, places["address"]) or "") for value in _objects(lines))
    return replace(
        form, row=_reader(places), title=f"JSON (client and user agent: {keys})", targets_as_sent=is_cloudfront,
        unescape=percent_decoded if is_cloudfront else utf8, records=OF_A_LIST if lists else "",
    )  # fmt: skip


def _unread(line: Mapping[str, Any]) -> Row:
    raise KeyError


JSON = LogFormat("json", "JSON", utf8, clf_seconds, row=_unread, fit=_with_places)
