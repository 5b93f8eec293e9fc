"""HAProxy 2.4 or newer with Lua, as distributions build it.

HAProxy's HTTP client for Lua repeats a request that gets no response, and before 2.8 cannot be told not to: half a
second becomes two. Its sockets for Lua have no timeout for half a response since 2.8. So each is used where it is right
(both tried 2026-11-26, 2.6.12 and 2.8.25). They are modelled on LuaSocket, so Apache shares exchange.lua.

A socket belongs to one thread, so with sockets each thread has its own Lua, and keeps connections to the gateway: a new
one for each question takes HAProxy a quarter more CPU time, and the gateway twice as much (2.6.12, 2026-11-29).
"""

from collections.abc import Iterator, Sequence

from noai_guard.gateway.contract import CDN, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import (
    UNUSUAL_PATH,
    GatewaySetup,
    Proxy,
    lua_names,
    repeatable,
    unquoted,
    variable,
)
from noai_guard.resources import text
from noai_guard.targets.servers.haproxy import quote, quote_format, suspect_look, suspect_rows
from noai_guard.targets.target import File

_SUSPECTS = "noai-guard-suspects.map"

_FILES = {
    "noai-guard.lua": ("haproxy.lua", "loaded by noai-guard.cfg"),
    "noai-guard.cfg": ("haproxy.cfg", "beside haproxy.cfg, by a second -f"),
    "noai-guard-frontend.cfg": ("haproxy_frontend.cfg", "in each frontend, before other http-request lines"),
}
_REFUSAL = 'status 403 content-type text/plain string "Forbidden" hdr cache-control no-store'
_REFUSE_NAMED = """\
if names_refused(table.concat(lines_of(received, "user-agent"), ", ")) then
  local reply = txn:reply({ status = 403, body = "Forbidden\\n" })
  reply:add_header("content-type", "text/plain")
  reply:add_header("cache-control", "no-store")
  txn:done(reply)
end""".splitlines()


def _render(setup: GatewaySetup, root: str) -> Sequence[File]:
    setup.reject_forwarded("HAProxy")
    gateway, address_header = setup.gateway, setup.client_address_header
    socket = f"unix@{gateway.path}" if gateway.path else ""
    read = (*setup.read, *CDN) if address_header == "x-real-ip" else (*setup.read, *CDN, address_header)
    refuse = f"http-request return {_REFUSAL} if !noai_document {{ var(txn.noai_status) -m int 0 }}"
    stored = setup.stored_documents("noai-guard-documents")
    only = setup.suspects_only
    rows = suspect_rows(setup.plan, decodes=False, also=setup.unrestricted_suspects) if only else []
    configuration = setup.generated(
        "haproxy",
        _FILES,
        address=f'"{socket}"' if socket else f'"{gateway.host}", {gateway.port}',
        url=f"http://{'noai-guard' if socket else gateway}",
        timeout=f'500, dst = "{socket}"' if socket else "500",
        verify=VERIFY,
        read=", ".join(f'"{name}"' for name in read),
        refused_names=lua_names(setup) if setup.refuses_by_name else [],
        passed_on=", ".join(f'["{name}"] = "{_variable(name)}"' for name in (*VERDICT, *setup.declared_names)),
        exchange=text("gateway/proxies/exchange.lua").splitlines(),
        root=root,
        client_address=list(_client_address(address_header)),
        document_paths=" ".join(unquoted(document.path, "HAProxy") for document, _ in stored),
        documents=(
            f'read_document("{document.path}", "{root}/{file.path}", "{document.media_type}")'
            for document, file in stored
        ),
        address_names="" if address_header == "x-real-ip" else f'"{address_header}"',
        document_client_address=list(_client_address(address_header, "applet")),
        not_asked_about=(f"# {line}" for line in setup.not_asked_about),
        suspects=_suspects(setup, root) if rows else [],
        only_if_asked=" !noai_unasked" if rows else "",
        unanswered=_REFUSE_NAMED if setup.refuses_by_name else [],
        unasked=[] if setup.fail_open else [refuse],
        verdict=(f"http-request set-header {name} {_value_if_set(name)}" for name in VERDICT),
        declared=[
            *map(_declared, setup.declared_names),
            *(_declared_unasked(*field) for field in setup.site_fields.items() if rows),
        ],
    )
    table = "".join(f"{row}\n" for row in rows).encode()
    suspects = [File(_SUSPECTS, table, "read by noai-guard-frontend.cfg")] if rows else []
    return [*configuration, *suspects, *(file for _, file in stored)]


def _suspects(setup: GatewaySetup, root: str) -> Iterator[str]:
    """Yield what tells about whom not to ask, and declares for the whole site there."""
    yield f"http-request {suspect_look(f'{root}/{_SUSPECTS}')}"
    yield "acl noai_suspect var(txn.noai_client) -m str suspect"
    # Several lines are one User-Agent, which may be too long to be read closely.
    yield "acl noai_suspect req.fhdr_cnt(user-agent) gt 1"
    special = (UNUSUAL_PATH, *setup.sections_that_declare_otherwise)
    yield from (f"acl noai_special path -m reg -i {quote(pattern)}" for pattern in special)
    yield "acl noai_path path -m found"
    yield "acl noai_unasked var(txn.noai_unasked) -m bool"
    yield from (f"acl noai_claim req.fhdr({name}) -m len gt 0" for name in setup.claim_headers)
    condition = "noai_path !noai_special !noai_suspect !noai_claim !noai_document"
    yield f"http-request set-var(txn.noai_unasked) bool(true) if {condition}"
    if not setup.fail_open:
        yield "http-request set-var(txn.noai_status) int(200) if noai_unasked"


def _client_address(header: str, asking: str = "txn") -> Iterator[str]:
    """Yield the Lua statements that pass the client's address to the gateway, unless it is read anyway."""
    if header in ("x-forwarded-for", "x-real-ip"):
        yield f'local addresses = headers["{header}"] or {{}}'
        yield f"addresses[#addresses + 1] = {asking}.f:src()"
        yield f'headers["{header}"] = {{ table.concat(addresses, ", ") }}'


def _declared(name: str) -> str:
    return f"http-after-response {_rule(name)} {_value_if_set(name)}{_unless_own(name)}"


def _declared_unasked(name: str, value: str) -> str:
    return f"http-after-response {_rule(name)} {quote_format(value)} if noai_unasked{_unless_own(name)}"


def _rule(name: str) -> str:
    return f"{'add-header' if repeatable(name) else 'set-header'} {name}"


def _unless_own(name: str) -> str:
    return "" if repeatable(name) else f" !{{ res.hdr({name}) -m found }}"


def _value_if_set(name: str) -> str:
    return f"%[var({_variable(name)})] if {{ var({_variable(name)}) -m found }}"


def _variable(name: str) -> str:
    return f"txn.noai_{variable(name)}"


PROXY = Proxy("haproxy", "HAProxy", _render, root="/etc/haproxy", options=frozenset({"ask", "merge"}))
