"""Caddy 2.6 or newer: `forward_auth` in its long form, because the short one has no timeout and no error handling.

Header names are written as Go writes them: a placeholder finds no other spelling.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from noai_guard.core.model import Document
from noai_guard.gateway.contract import AUTHORIZATION, SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy, repeatable, variable
from noai_guard.targets import go_regex
from noai_guard.targets.lookup_tables import file_server_headers
from noai_guard.targets.target import File

_SET = {"x-forwarded-uri": "{http.request.orig_uri}", "x-forwarded-method": "{http.request.orig_method}"}
_SPOOFABLE = ("X-NoAI*", "X_noai*", "X.noai*")
"""Request headers that only the gateway may set, in every spelling that some server or language takes for the same."""

_NOT_ASKED = ("Connection", "Upgrade", "Sec-WebSocket-*", "Cookie")
"""Fields that would make a websocket of the question, and those that are no business of the gateway."""

_SET_BY_CADDY = "x-forwarded-host"
_STAND_IN = "127.0.0.1:9796"

_REFUSAL = ("header Cache-Control no-store", 'respond "Forbidden" 403')


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    setup.reject_forwarded("Caddy")
    names = setup.declared_names
    stored = setup.stored_documents("noai-guard-gateway/documents")
    configuration = setup.generated(
        "caddy",
        {"noai-guard-gateway.caddy": ("caddy_gateway.caddy", "on top of the Caddyfile, by import")},
        origin=str(setup.origin),
        gateway=f"unix/{setup.gateway.path}" if setup.gateway.path else str(setup.gateway),
        stand_in=_STAND_IN,
        stand_in_site=_STAND_IN.removeprefix("127.0.0.1"),
        verify=VERIFY,
        spoofable=(f"request_header -{spelling}" for spelling in _SPOOFABLE),
        documents=_documents(setup.document_paths),
        document_files=(line for document, file in stored for line in _document_file(document, file, root)),
        request=_request(setup),
        verdict=[
            *(f"request_header {name.title()} {{rp.header.{name.title()}}}" for name in VERDICT),
            *(f"vars noai_{variable(name)} {{rp.header.{name.title()}}}" for name in names),
        ],
        refuse_named=_refuse_named(setup),
        no_verdict=("import noai_unanswered", "vars noai_gate unanswered") if setup.fail_open else _REFUSAL,
        declared=[line for name in names for line in _declared(name)],
    )
    return [*configuration, *(file for _, file in stored)]


def _document_file(document: Document, file: File, root: str) -> Iterator[str]:
    """Yield what serves a document while the gateway does not answer."""
    matcher = f"@noai_document_{variable(re.sub('[^A-Za-z0-9-]', '-', file.path))}"
    yield f"{matcher} vars_regexp {{http.request.orig_uri}} `{_documents([document.path])}`"
    yield f"handle {matcher} {{"
    yield f"\troot * `{root}`"
    yield f"\trewrite * `/{file.path}`"
    yield f"\theader Content-Type `{document.media_type}`"
    yield from (f"\theader {name} `{value}`" for name, value in file_server_headers(document))
    yield "\tfile_server {"
    yield "\t\tstatus 200"
    yield "\t}"
    yield "}"


def _documents(paths: Iterable[str]) -> str:
    """Return an expression for the paths of documents in a request target."""
    return rf"^(?:https?://[^/?]*)?(?:{'|'.join(map(_expression, paths))})(?:\?|$)"


def _refuse_named(setup: GatewaySetup) -> Iterator[str]:
    """Yield what refuses an agent by its name while the gateway does not answer."""
    if setup.refuses_by_name:
        expression = "|".join(map(go_regex.with_characters, setup.refused_expressions(1 << 20)))
        yield f"@noai_named header_regexp User-Agent `(?i){expression}`"
        yield "handle @noai_named {"
        yield from (f"\t{line}" for line in _REFUSAL)
        yield "}"


def _request(setup: GatewaySetup) -> Iterator[str]:
    """Yield what differs in the request to the gateway; a client can set none of these fields."""
    # After three requests without an answer within five seconds, nobody is asked about until they are over.
    # Until then a request is repeated, at the stand-in at last; by default only a GET is.
    yield from ("max_fails 3", "fail_duration 5s", "lb_policy first", "lb_try_duration 3s", "lb_try_interval 1ms")
    yield from ("lb_retry_match {", "\tpath *", "}")
    yield from (f"header_up {name.title()} {value}" for name, value in _SET.items())
    yield from (f"header_up -{name.title()}" for name in SOURCES if name not in (*_SET, _SET_BY_CADDY))
    # A field that the client's Connection names would be missing, and Go sends the first of several User-Agent lines
    # only: the placeholder has all of them (2.6.2 and 2.11.7, 2026-11-29).
    kept = ["User-Agent"]
    if setup.client_address_header not in ("x-forwarded-for", "x-real-ip"):
        kept.append(setup.client_address_header.title())
    yield from (f"header_up {name} {{http.request.header.{name}}}" for name in kept)
    not_asked = _NOT_ASKED if setup.asks_for_keys else (*_NOT_ASKED, AUTHORIZATION.title())
    yield from (f"header_up -{name}" for name in not_asked)
    if setup.client_address_header == "x-real-ip":
        yield "header_up X-Real-IP {http.request.remote.host}"
    yield "transport http {"
    yield "\tdial_timeout 300ms"
    yield "\tresponse_header_timeout 500ms"
    yield "}"


def _declared(name: str) -> Iterator[str]:
    """Yield what adds a field when the response is sent, so that the site's own `header` directives replace no line.

    `?`: only where the site sends none of its own.
    """
    field, value = f"noai_{variable(name)}", f"{{vars.noai_{variable(name)}}}"
    yield f'@{field} expression `{{vars.noai_gate}} == "answered" && {value} != ""`'
    if not repeatable(name):
        yield f"header @{field} ?{name.title()} {value}"
        return
    yield from (f"header @{field} {{", f"\t+{name.title()} {value}", "\tdefer", "}")


def _expression(path: str) -> str:
    """Return an expression for a path as clients send it: Caddy's `path` also matches other spellings of it."""
    return re.sub("[^A-Za-z0-9/_-]", lambda match: rf"\x{ord(match[0]):02x}", quote(path))


PROXY = Proxy("caddy", "Caddy", _render, root="/etc/caddy", options=frozenset({"merge", "origin"}))
