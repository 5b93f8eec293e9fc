"""Apache 2.4 with mod_lua and LuaSocket: a quick handler asks the gateway before any other handler runs."""

from collections.abc import Iterator, Sequence

from noai_guard.errors import CannotExpress
from noai_guard.gateway.contract import READ, VERDICT, VERIFY
from noai_guard.gateway.proxies.lua import EXCHANGE, filled
from noai_guard.gateway.proxies.proxy import BESIDE, GatewaySetup, Proxy, Snippet, spellings, title, variable

_LUA = """\
require "apache2"
local found, socket = pcall(require, "@module@")
local VERIFY = "@verify@"
local READ = { @read@ }
local PASSED_ON = { @passed_on@ }
local DECLARED = { @declared@ }
local SPOOFED = { @spoofed@ }
local NEVER_COPIED = { connection = true, ["content-length"] = true, ["content-type"] = true, date = true,
  server = true, ["transfer-encoding"] = true }

@exchange@
local function answer(r)
  if not found then
    r:err("noai-guard: LuaSocket is missing (Debian: lua-socket)")
    return nil
  end
  local connection = @connection@
  connection:settimeout(0.5)
  if not connection:connect(@address@) then return nil end
  local lines = {
    "x-original-method: " .. r.method,
    "x-original-uri: " .. r.unparsed_uri,
    "x-original-host: " .. (r.headers_in["Host"] or ""),
  }
  for _, name in ipairs(READ) do
    local value = r.headers_in[name]
    if value then lines[#lines + 1] = name .. ": " .. value end
  end
@client_address@
  local status, headers, body = exchanged(connection, lines)
  connection:close()
  return status, headers, body
end

function ask(r)
  if not r.is_initial_req then return apache2.DECLINED end
  for _, name in ipairs(SPOOFED) do
    if r.headers_in[name] then r.headers_in[name] = nil end
  end
  local status, headers, body = answer(r)
  if not status or status >= 500 or status == 404 or status == 405 then
@unanswered@
  end
  if status >= 200 and status < 300 then
    for _, header in ipairs(headers) do
      if PASSED_ON[header[1]] then r.headers_in[PASSED_ON[header[1]]] = header[2] end
      if DECLARED[header[1]] then r.subprocess_env[DECLARED[header[1]]] = header[2] end
    end
    return apache2.DECLINED
  end
  r.status = status
  local lines = {}
  for _, header in ipairs(headers) do
    local name, value = header[1], header[2]
    if name == "content-type" then r.content_type = value end
    -- Apache has one line of a name here.
    if not NEVER_COPIED[name] then lines[name] = lines[name] and lines[name] .. ", " .. value or value end
  end
  for name, value in pairs(lines) do r.err_headers_out[name] = value end
  if not r.header_only then r:write(body) end
  return apache2.DONE
end
"""

_LETS_IN = "    return apache2.DECLINED"
_REFUSES = """\
    r.status = 403
    r.content_type = "text/plain"
    r.err_headers_out["Cache-Control"] = "no-store"
    if not r.header_only then r:write("Forbidden\\n") end
    return apache2.DONE"""


def _lua(wanted: GatewaySetup) -> Iterator[str]:
    gateway, header = wanted.gateway, wanted.address_header
    own = {
        "x-forwarded-for": f'  lines[#lines + 1] = "{header}: " .. (r.headers_in["{header}"] and '
        f'r.headers_in["{header}"] .. ", " or "") .. r.useragent_ip',
        "x-real-ip": f'  lines[#lines + 1] = "{header}: " .. r.useragent_ip',
    }
    passes = f'  if r.headers_in["{header}"] then lines[#lines + 1] = "{header}: " .. r.headers_in["{header}"] end'
    values = {
        "module": "socket.unix" if gateway.socket else "socket",
        "connection": "socket()" if gateway.socket else "socket.tcp()",
        "address": f'"{gateway.socket}"' if gateway.socket else f'"{gateway.host.strip("[]")}", {gateway.port}',
        "verify": VERIFY,
        "read": ", ".join(f'"{name}"' for name in READ),
        "passed_on": ", ".join(f'["{name}"] = "{title(name)}"' for name in VERDICT),
        "declared": ", ".join(f'["{name}"] = "{_environment(name)}"' for name in wanted.declared),
        "spoofed": ", ".join(f'"{name}"' for name in spellings()),
        "client_address": own.get(header, passes),
        "unanswered": _LETS_IN if wanted.lets_in else _REFUSES,
        "exchange": EXCHANGE,
    }
    yield f"-- {wanted.head('Apache')}"
    yield filled(_LUA, values)


def _conf(wanted: GatewaySetup) -> Iterator[str]:
    yield f"# {wanted.head('Apache')}"
    yield "# In each VirtualHost, before its own ProxyPass lines. Debian: apt-get install lua-socket,"
    yield "# a2enmod headers lua proxy proxy_http."
    yield "LuaScope thread"
    yield f"LuaQuickHandler {wanted.root}/noai-guard-gateway/ask.lua ask"
    for name in wanted.declared:
        value = _environment(name)
        how = f"always add {title(name)}" if name in BESIDE else f"setifempty {title(name)}"
        yield f'Header {how} "%{{{value}}}e" env={value}'
    for path in wanted.documents:
        if any(character in path for character in '"\\ \n%$'):
            raise CannotExpress(f"Apache: the path {path!r} of a document would need quoting; choose a plainer one")
        to = f"unix:{wanted.gateway.socket}|http://noai-guard" if wanted.gateway.socket else f"http://{wanted.gateway}"
        yield f'ProxyPass "{path}" "{to}{path}" connectiontimeout=1 timeout=2'


def _environment(name: str) -> str:
    return f"NOAI_{variable(name).upper()}"


def _render(wanted: GatewaySetup) -> Sequence[Snippet]:
    if wanted.address_header == "forwarded":
        raise CannotExpress("Apache passes a client's Forwarded on; set trusted_proxies.header to x-forwarded-for")
    files = (
        ("noai-guard-gateway/virtual-host.conf", "in each VirtualHost, by Include", _conf),
        ("noai-guard-gateway/ask.lua", "loaded by virtual-host.conf", _lua),
    )
    return [Snippet(file, where, "".join(f"{line}\n" for line in lines(wanted))) for file, where, lines in files]


PROXY = Proxy("apache", "Apache", "/etc/apache2", _render, language="apache")
