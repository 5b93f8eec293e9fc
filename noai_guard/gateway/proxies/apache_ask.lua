-- __HEADER_COMMENT__
require "apache2"
local found, socket = pcall(require, "__MODULE__")
local VERIFY = "__VERIFY__"
local READ = { __READ__ }
local PASSED_ON = { __PASSED_ON__ }
local DECLARED = { __DECLARED__ }
local SPOOFED = { __SPOOFED__ }
local DOCUMENTS = { __DOCUMENTS__ }
local NEVER_COPIED = { connection = true, ["content-length"] = true, ["content-type"] = true, date = true,
  server = true, ["transfer-encoding"] = true }

__EXCHANGE__

__REFUSED_NAMES__
local function answer(r)
  if not found then
    r:err("noai-guard: LuaSocket is missing (Debian: lua-socket)")
    return nil
  end
  local connection = __CONNECTION__
  connection:settimeout(0.5)
  if not connection:connect(__ADDRESS__) then return nil end
  local lines = {
    "x-original-method: " .. r.method,
    "x-original-uri: " .. r.unparsed_uri,
    "x-original-host: " .. (r.headers_in["Host"] or ""),
  }
  for _, name in ipairs(READ) do
    local value = r.headers_in[name]
    if value then lines[#lines + 1] = name .. ": " .. value end
  end
  __CLIENT_ADDRESS__
  local status, headers, body = exchanged(connection, lines)
  connection:close()
  return status, headers, body
end

function ask(r)
  if not r.is_initial_req then return apache2.DECLINED end
  for _, name in ipairs(SPOOFED) do
    if r.headers_in[name] then r.headers_in[name] = nil end
  end
  -- ProxyPass sends them to the gateway.
  if DOCUMENTS[r.unparsed_uri:match("^[^?]*")] then return apache2.DECLINED end
  local asked, status, headers, body = pcall(answer, r)
  if not asked then r:err("noai-guard: cannot ask: " .. tostring(status)) end
  if not asked or not is_verdict(status) then
    __UNANSWERED__
  end
  if status < 300 then
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
    -- Apache keeps one line for a name here.
    if not NEVER_COPIED[name] then lines[name] = lines[name] and lines[name] .. ", " .. value or value end
  end
  for name, value in pairs(lines) do r.err_headers_out[name] = value end
  if not r.header_only then r:write(body) end
  return apache2.DONE
end
