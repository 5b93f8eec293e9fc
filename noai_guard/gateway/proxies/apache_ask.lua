-- __HEADER_COMMENT__
require "apache2"
local found, socket = pcall(require, "__MODULE__")
local VERIFY = "__VERIFY__"
local READ = { __READ__ }
local PASSED_ON = { __PASSED_ON__ }
local DECLARED = { __DECLARED__ }
local SPOOFED = { __SPOOFED__ }
local DOCUMENTS = {
  __DOCUMENTS__
}
local NEVER_COPIED = { connection = true, ["content-length"] = true, ["content-type"] = true, date = true,
  server = true, ["transfer-encoding"] = true }

__EXCHANGE__

__REFUSED_NAMES__
local function answer(r, path)
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
  if path ~= VERIFY and r.headers_in["If-None-Match"] then
    lines[#lines + 1] = "if-none-match: " .. r.headers_in["If-None-Match"]
  end
  __CLIENT_ADDRESS__
  local status, headers, body = exchanged(connection, lines, path)
  connection:close()
  return status, headers, body
end

-- After three requests without an answer nobody waits for five seconds; then one request tries again. All threads of a
-- process know it.
local function may_ask(r)
  if (r:ivm_get("noai-failures") or 0) < 3 then return true end
  local now = os.time()
  if now < (r:ivm_get("noai-asked-again") or 0) then return false end
  r:ivm_set("noai-asked-again", now + 5)
  return true
end

local function note(r, answered)
  local failures = r:ivm_get("noai-failures") or 0
  if answered and failures == 0 then return end
  r:ivm_set("noai-failures", answered and 0 or failures + 1)
  if not answered and failures == 2 then r:ivm_set("noai-asked-again", os.time() + 5) end
end

-- True, and status, headers and body of the response, if there is one; false if it was not asked.
local function asked_about(r, path)
  if not may_ask(r) then return true end
  local asked, status, headers, body = pcall(answer, r, path)
  note(r, asked and status)
  if not asked then r:err("noai-guard: cannot ask: " .. tostring(status)) end
  return asked, status, headers, body
end

local function send_document(r, document)
  local asked, status, headers, body = asked_about(r, document.path)
  r.content_type = document.media_type
  if asked and status and status < 500 then
    r.status = status
    for _, header in ipairs(headers) do
      if header[1] == "content-type" then r.content_type = header[2] end
      -- Apache knows the length only where it has seen the whole body.
      if header[1] == "content-length" then r.headers_out["Content-Length"] = header[2] end
      if not NEVER_COPIED[header[1]] then r.err_headers_out[header[1]] = header[2] end
    end
    if not r.header_only then r:write(body) end
    return apache2.DONE
  end
  r.err_headers_out["Cache-Control"] = "public, max-age=3600"
  r.err_headers_out["Access-Control-Allow-Origin"] = "*"
  if not r.header_only then r:sendfile(document.file) end
  return apache2.DONE
end

function ask(r)
  if not r.is_initial_req then return apache2.DECLINED end
  for _, name in ipairs(SPOOFED) do
    if r.headers_in[name] then r.headers_in[name] = nil end
  end
  local document = DOCUMENTS[r.unparsed_uri:gsub("^[Hh][Tt][Tt][Pp][Ss]?://[^/?]*", ""):match("^[^?]*")]
  if document and (r.method == "GET" or r.method == "HEAD") then return send_document(r, document) end
  __UNASKED__
  local asked, status, headers, body = asked_about(r, VERIFY)
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
