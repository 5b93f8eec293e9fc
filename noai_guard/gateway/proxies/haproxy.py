"""HAProxy 2.4 or newer with Lua, as distributions build it.

HAProxy's HTTP client for Lua repeats a request that gets no response, and before 2.8 cannot be told not to: half a
second becomes two. Its sockets for Lua have no timeout for half a response since 2.8. So each is used where it is right
(both tried 2026-11-26, 2.6.12 and 2.8.25). They are modelled on LuaSocket, so Apache shares exchange.lua.
"""

from collections.abc import Iterator, Sequence

from noai_guard.gateway.contract import CDN, VERDICT, VERIFY
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy, lua_names, repeatable, unquoted, variable
from noai_guard.resources import text
from noai_guard.targets.target import File

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
    return setup.generated(
        "haproxy",
        _FILES,
        address=f'"{socket}"' if socket else f'"{gateway.host}", {gateway.port}',
        url=f"http://{'noai-guard' if socket else gateway}{VERIFY}",
        timeout=f'500, dst = "{socket}"' if socket else "500",
        verify=VERIFY,
        read=", ".join(f'"{name}"' for name in read),
        refused_names=lua_names(setup) if setup.refuses_by_name else [],
        passed_on=", ".join(f'["{name}"] = "{_variable(name)}"' for name in (*VERDICT, *setup.declared_names)),
        exchange=text("gateway/proxies/exchange.lua").splitlines(),
        root=root,
        client_address=list(_client_address(address_header)),
        forwarded_for=["option forwardfor"] if address_header == "x-forwarded-for" else [],
        gateway=socket or str(gateway),
        documents=" ".join(unquoted(path, "HAProxy") for path in setup.document_paths),
        unanswered=_REFUSE_NAMED if setup.refuses_by_name else [],
        unasked=[] if setup.fail_open else [refuse],
        verdict=(f"http-request set-header {name} {_value_if_set(name)}" for name in VERDICT),
        declared=map(_declared, setup.declared_names),
    )


def _client_address(header: str) -> Iterator[str]:
    """Yield the Lua statements that pass the client's address to the gateway, unless it is read anyway."""
    if header in ("x-forwarded-for", "x-real-ip"):
        yield f'local addresses = headers["{header}"] or {{}}'
        yield "addresses[#addresses + 1] = txn.f:src()"
        yield f'headers["{header}"] = {{ table.concat(addresses, ", ") }}'


def _declared(name: str) -> str:
    rule = "add-header" if repeatable(name) else "set-header"
    unless = "" if repeatable(name) else f" !{{ res.hdr({name}) -m found }}"
    return f"http-after-response {rule} {name} {_value_if_set(name)}{unless}"


def _value_if_set(name: str) -> str:
    return f"%[var({_variable(name)})] if {{ var({_variable(name)}) -m found }}"


def _variable(name: str) -> str:
    return f"txn.noai_{variable(name)}"


PROXY = Proxy("haproxy", "HAProxy", _render, root="/etc/haproxy")
