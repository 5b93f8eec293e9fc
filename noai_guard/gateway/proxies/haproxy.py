"""HAProxy 2.4 or newer with Lua, as distributions build it.

HAProxy's HTTP client for Lua repeats a question that was not answered, and before 2.8 cannot be told not to: half a
second becomes two. Its sockets for Lua have no timeout for half an answer since 2.8. So each is used where it is right
(both tried 2026-11-26, 2.6.12 and 2.8.25).
"""

import re
from collections.abc import Iterator, Sequence

from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import SOURCES, VERDICT, VERIFY
from noai_guard.gateway.proxies.lua import EXCHANGE, filled
from noai_guard.gateway.proxies.proxy import BESIDE, GatewaySetup, Proxy, Snippet, variable

_LUA = """\
local GATEWAY, PORT, URL = "@address@", @port@, "@url@"
local VERIFY, ADDRESS_HEADER = "@verify@", "@address_header@"
local BY_CLIENT = ... == "httpclient"
local LEFT_OUT = { host = true, connection = true, ["content-length"] = true, ["transfer-encoding"] = true, te = true,
  upgrade = true, expect = true, cookie = true, authorization = true, @left_out@ }
local PASSED_ON = { @passed_on@ }
local NEVER_COPIED = { connection = true, ["content-length"] = true, ["transfer-encoding"] = true,
  ["keep-alive"] = true, date = true, server = true }

-- What the gateway is told: the client's headers, and what only we may say.
local function question(txn)
  local headers, addresses = {}, {}
  for name, values in pairs(txn.http:req_get_headers()) do
    for _, value in pairs(values) do
      if name == ADDRESS_HEADER and @appends@ then
        addresses[#addresses + 1] = value
      elseif not LEFT_OUT[name] then
        headers[name] = headers[name] or {}
        table.insert(headers[name], value)
      end
    end
  end
  if @sets_address@ then
    addresses[#addresses + 1] = txn.f:src()
    headers[ADDRESS_HEADER] = { table.concat(addresses, ", ") }
  end
  headers["x-original-method"] = { txn.f:method() }
  headers["x-original-uri"] = { txn.f:pathq() }
  headers["x-original-host"] = { txn.sf:req_fhdr("host") or "" }
  return headers
end

-- Status, header lines and body of the answer, or nothing.
local function by_client(headers)
  local client = core.httpclient()
  local got = client:get({ url = URL, headers = headers, timeout = 500@socket@ })
  if not got or not got.status or got.status == 0 then return nil end
  local lines = {}
  for name, values in pairs(got.headers) do
    for _, value in pairs(values) do lines[#lines + 1] = { name, value } end
  end
  return got.status, lines, got.body or ""
end

@exchange@
local function by_socket(headers)
  local lines = {}
  for name, values in pairs(headers) do
    for _, value in ipairs(values) do lines[#lines + 1] = name .. ": " .. value end
  end
  local socket = core.tcp()
  socket:settimeout(0.5)
  local status, got, body
  if socket:connect(GATEWAY, PORT) then status, got, body = exchanged(socket, lines) end
  socket:close()
  return status, got, body
end

local function ask(txn)
  local status, headers, body = (BY_CLIENT and by_client or by_socket)(question(txn))
  if not status or status >= 500 or status == 404 or status == 405 then return end
  txn:set_var("txn.noai_status", status)
  if status >= 200 and status < 300 then
    for _, header in ipairs(headers) do
      if PASSED_ON[header[1]] then txn:set_var(PASSED_ON[header[1]], header[2]) end
    end
    return
  end
  local reply = txn:reply({ status = status, body = body })
  for _, header in ipairs(headers) do
    if not NEVER_COPIED[header[1]] then reply:add_header(header[1], header[2]) end
  end
  txn:done(reply)
end

core.register_action("noai_ask", { "http-req" }, ask, 0)
"""

_APPENDS = frozenset({"x-forwarded-for"})
_SETS = frozenset({"x-forwarded-for", "x-real-ip"})


def _lua(wanted: GatewaySetup) -> Iterator[str]:
    gateway = wanted.gateway
    passed_on = (f'["{name}"] = "txn.noai_{variable(name)}"' for name in (*VERDICT, *wanted.declared))
    left_out = [*SOURCES] + ([wanted.address_header] if wanted.address_header == "x-real-ip" else [])
    values = {
        "address": f"unix@{gateway.socket}" if gateway.socket else gateway.host.strip("[]"),
        "port": str(gateway.port or "nil"),
        "url": f"http://{'noai-guard' if gateway.socket else gateway}{VERIFY}",
        "socket": f', dst = "unix@{gateway.socket}"' if gateway.socket else "",
        "verify": VERIFY,
        "address_header": wanted.address_header,
        "left_out": ", ".join(f'["{name}"] = true' for name in left_out),
        "passed_on": ", ".join(passed_on),
        "appends": str(wanted.address_header in _APPENDS).lower(),
        "exchange": EXCHANGE,
        "sets_address": str(wanted.address_header in _SETS).lower(),
    }
    yield f"-- {wanted.head('HAProxy')}"
    yield filled(_LUA, values)


def _global(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('HAProxy')}"
    yield "global"
    yield ".if version_atleast(2.8)"
    yield "    httpclient.retries 0"
    yield "    httpclient.timeout.connect 300ms"
    yield f"    lua-load {wanted.root}/noai-guard.lua httpclient"
    yield ".else"
    yield f"    lua-load {wanted.root}/noai-guard.lua"
    yield ".endif"
    yield "backend noai_gateway"
    yield "    mode http"
    yield "    timeout connect 300ms"
    yield "    timeout server 2s"
    if wanted.address_header == "x-forwarded-for":
        yield "    option forwardfor"
    where = f"unix@{wanted.gateway.socket}" if wanted.gateway.socket else str(wanted.gateway)
    yield f"    server gateway {where}"


def _frontend(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('HAProxy')}"
    yield "# In each frontend of a site, before other http-request lines."
    paths = " ".join(map(_plain, wanted.documents))
    yield f"    acl noai_document path,url_dec -m str {paths}"
    yield "    http-request del-header ^x[-_.]noai[-_.] -m reg"
    yield "    http-request set-var(txn.noai_status) int(0)"
    yield "    http-request lua.noai_ask if !noai_document"
    if not wanted.lets_in:
        refusal = 'status 403 content-type text/plain string "Forbidden" hdr cache-control no-store'
        yield f"    http-request return {refusal} if !noai_document {{ var(txn.noai_status) -m int 0 }}"
    for name in VERDICT:
        value = f"txn.noai_{variable(name)}"
        yield f"    http-request set-header {name} %[var({value})] if {{ var({value}) -m found }}"
    yield "    use_backend noai_gateway if noai_document"
    for name in wanted.declared:
        value = f"txn.noai_{variable(name)}"
        rule = "add-header" if name in BESIDE else "set-header"
        unless = "" if name in BESIDE else f" !{{ res.hdr({name}) -m found }}"
        yield f"    http-after-response {rule} {name} %[var({value})] if {{ var({value}) -m found }}{unless}"


def _plain(path: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9/._~-]*", path):
        raise CannotExpress(f"HAProxy: the path {path!r} of a document would need quoting; choose a plainer one")
    return path


def _render(wanted: GatewaySetup) -> Sequence[Snippet]:
    if wanted.address_header == "forwarded":
        raise CannotExpress("HAProxy passes a client's Forwarded on; set trusted_proxies.header to x-forwarded-for")
    files = (
        ("noai-guard.lua", "loaded by noai-guard.cfg", _lua),
        ("noai-guard.cfg", "beside haproxy.cfg, by a second -f", _global),
        ("noai-guard-frontend.cfg", "in each frontend, before other http-request lines", _frontend),
    )
    return [Snippet(file, where, "".join(f"{line}\n" for line in lines(wanted))) for file, where, lines in files]


PROXY = Proxy("haproxy", "HAProxy", "/etc/haproxy", _render)
