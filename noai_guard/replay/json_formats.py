"""Formats of JSON objects, one a line, as servers and services write them by themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from noai_guard.replay.log_format import Key, LogFormat, Row, iso_seconds, utf8


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _first(values: Any) -> str:
    """Return what a header field holds, an empty text if it was not sent."""
    return str(values[0]) if values else ""


def _caddy(line: Mapping[str, Any]) -> Row:
    request = line["request"]
    headers = request.get("headers", {})
    return (
        request.get("client_ip") or request["remote_ip"], _text(line.get("ts")), request["method"], request["uri"],
        _text(line["status"]), _text(line.get("size")), _first(headers.get("Referer")),
        _first(headers.get("User-Agent")),
    )  # fmt: skip


_CADDY_KEYS = {
    "address": Key(("request", "client_ip"), "filled", needed=True),
    "time": Key(("ts",), "time", needed=True),
    "method": Key(("request", "method"), "text", needed=True),
    "target": Key(("request", "uri"), "text", needed=True),
    "status": Key(("status",), "number", needed=True),
    "bytes": Key(("size",), "number"),
    "referer": Key(("request", "headers", "Referer"), "texts", default=""),
    "user_agent": Key(("request", "headers", "User-Agent"), "texts", default=""),
}


def _traefik(line: Mapping[str, Any]) -> Row:
    return (
        line["ClientHost"], line.get("StartUTC") or line.get("time"), line["RequestMethod"], line["RequestPath"],
        _text(line["DownstreamStatus"]), _text(line.get("DownstreamContentSize")), line.get("request_Referer", ""),
        line.get("request_User-Agent"),
    )  # fmt: skip


def _traefik_with_agents(line: Mapping[str, Any]) -> Row:
    return (*_traefik(line)[:-1], line.get("request_User-Agent", ""))


_TRAEFIK_KEYS = {
    "address": Key(("ClientHost",), "text", needed=True),
    "time": Key(("StartUTC",), "time", needed=True),
    "method": Key(("RequestMethod",), "text", needed=True),
    "target": Key(("RequestPath",), "text", needed=True),
    "status": Key(("DownstreamStatus",), "number", needed=True),
    "bytes": Key(("DownstreamContentSize",), "number"),
    "referer": Key(("request_Referer",), "text", default=""),
    "user_agent": Key(("request_User-Agent",), "text"),
}


def _cloudflare(line: Mapping[str, Any]) -> Row:
    return (
        line["ClientIP"], _text(line.get("EdgeStartTimestamp") or line.get("EdgeEndTimestamp")),
        line["ClientRequestMethod"], line.get("ClientRequestURI") or line["ClientRequestPath"],
        _text(line["EdgeResponseStatus"]), _text(line.get("EdgeResponseBytes")), line.get("ClientRequestReferer", ""),
        (line["ClientRequestUserAgent"] or "") if "ClientRequestUserAgent" in line else None,
    )  # fmt: skip


_CLOUDFLARE_KEYS = {
    "address": Key(("ClientIP",), "text", needed=True),
    "time": Key(("EdgeStartTimestamp",), "time", needed=True),
    "method": Key(("ClientRequestMethod",), "text", needed=True),
    "target": Key(("ClientRequestURI",), "filled", needed=True),
    "status": Key(("EdgeResponseStatus",), "number", needed=True),
    "bytes": Key(("EdgeResponseBytes",), "number"),
    "referer": Key(("ClientRequestReferer",), "text", default=""),
    "user_agent": Key(("ClientRequestUserAgent",), "text"),
}


_PATH_CHARACTERS = "/!$&'()*+,:;=@~"


def _event(line: Mapping[str, Any]) -> Row:
    """Return the fields of a line of the event log (`noai_guard.record.event_record`)."""
    status, size = line.get("status"), line.get("bytes")
    line["identity"], line["action"]
    # The path of an event is decoded already.
    path = quote(line.get("path") or "/", safe=_PATH_CHARACTERS, errors="replace")
    return (
        line.get("client", ""), line["time"], line.get("method") or "GET", path,
        "0" if status is None else str(status), _text(size), "", line.get("user_agent", ""),
    )  # fmt: skip


def _with_kept_headers(form: LogFormat, lines: Sequence[str]) -> LogFormat:
    """Return Traefik's format with user agents, if the log has any: it writes header fields only if it is told to, and
    then those that were sent."""
    if not any('"request_User-Agent"' in line for line in lines):
        return form
    sent = replace(form.keys["user_agent"], default="")
    return replace(form, row=_traefik_with_agents, keys={**form.keys, "user_agent": sent})


CADDY = LogFormat("caddy", "Caddy JSON", utf8, iso_seconds, row=_caddy, keys=_CADDY_KEYS, mark='"request":')
TRAEFIK = LogFormat(
    "traefik", "Traefik JSON", utf8, iso_seconds, row=_traefik, keys=_TRAEFIK_KEYS, fit=_with_kept_headers
)
CLOUDFLARE = LogFormat("cloudflare", "Cloudflare Logpush", utf8, iso_seconds, row=_cloudflare, keys=_CLOUDFLARE_KEYS)
EVENTS = LogFormat(
    "events", "events of noai-guard", utf8, iso_seconds, row=_event,
    records="an event log holds only requests that were noted when they came, and perhaps pseudonyms for addresses",
)  # fmt: skip
