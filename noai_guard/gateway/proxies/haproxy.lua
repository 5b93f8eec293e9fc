-- __HEADER_COMMENT__
local VERIFY, URL = "__VERIFY__", "__URL__"
-- Documents: path -> text and media type, for when the gateway does not answer.
local DOCUMENTS = {}
local function read_document(path, file, media_type)
  local opened = assert(io.open(file, "rb"))
  DOCUMENTS[path] = { opened:read("*a"), media_type }
  opened:close()
end
__DOCUMENTS__
local BY_CLIENT = ... == "httpclient"
local READ = { __READ__ }
local PASSED_ON = { __PASSED_ON__ }
local NEVER_COPIED = { connection = true, ["content-length"] = true, ["transfer-encoding"] = true,
  ["keep-alive"] = true, date = true, server = true }

-- More lines of a name are joined: HAProxy's HTTP client sends no more of them than a client may.
local MAX_LINES = 16

__REFUSED_NAMES__
-- Lines of a request header, in their order.
local function lines_of(received, name)
  local values, lines = received[name] or {}, {}
  while values[#lines] do lines[#lines + 1] = (values[#lines]:gsub("%c", " ")) end
  return #lines > MAX_LINES and { table.concat(lines, ", ") } or lines
end

-- Headers of the request to the gateway: what it reads of the client's, and those that only the proxy may set.
local function question(txn, received)
  local headers = {}
  for _, name in ipairs(READ) do headers[name] = lines_of(received, name) end
  __CLIENT_ADDRESS__
  local target = txn.f:pathq()
  headers["x-original-method"] = { txn.f:method() }
  -- `*` and `host:port` have no path.
  headers["x-original-uri"] = { target and target ~= "" and target or txn.f:url() }
  headers["x-original-host"] = { txn.sf:req_fhdr("host") or "" }
  return headers
end

-- Status, header lines and body of the response, or nil.
local function by_client(headers, path)
  local client = core.httpclient()
  local got = client:get({ url = URL .. path, headers = headers, timeout = __TIMEOUT__ })
  if not got or not got.status or got.status == 0 then return nil end
  local lines = {}
  for name, values in pairs(got.headers) do
    for _, value in pairs(values) do lines[#lines + 1] = { name, value } end
  end
  return got.status, lines, got.body or ""
end

__EXCHANGE__

-- Connections to the gateway that no request uses, of this thread. A new one for each question costs as much again.
-- HAProxy closes one after settimeout, so it is used before.
local MAX_IDLE, MAX_IDLE_SECONDS = 64, 0.25
local idle = {}

local function seconds()
  local now = core.now()
  return now.sec + now.usec / 1e6
end

local function taken_from_idle()
  local last = table.remove(idle)
  if not last or seconds() - last.since < MAX_IDLE_SECONDS then return last and last.socket end
  last.socket:close()
  -- The others have been idle for longer.
  for _, other in ipairs(idle) do other.socket:close() end
  idle = {}
end

local function by_socket(headers, path)
  local lines = {}
  for name, values in pairs(headers) do
    for _, value in ipairs(values) do lines[#lines + 1] = name .. ": " .. value end
  end
  local socket, kept = taken_from_idle(), true
  local started = seconds()
  while true do
    if not socket then
      socket, kept = core.tcp(), false
      socket:settimeout(0.5)
    end
    local status, got, body, reusable
    if kept or socket:connect(__ADDRESS__) then status, got, body, reusable = exchanged(socket, lines, path) end
    if reusable and #idle < MAX_IDLE then
      idle[#idle + 1] = { socket = socket, since = seconds() }
    else
      socket:close()
    end
    -- The gateway may have closed a connection that was idle, which is seen at once.
    if status or not kept or seconds() - started > 0.25 then return status, got, body end
    socket = nil
  end
end

-- After three requests without an answer nobody waits for five seconds; then one request tries again.
local failures, asked_again = 0, 0

local function may_ask()
  local now = core.now().sec
  if failures < 3 then return true end
  if now < asked_again then return false end
  asked_again = now + 5
  return true
end

-- Status, header lines and body of the gateway's response, or nil.
local function answer(headers, path)
  if not may_ask() then return nil end
  local asked, status, lines, body = pcall(BY_CLIENT and by_client or by_socket, headers, path)
  if not asked then core.Warning("noai-guard: cannot ask: " .. tostring(status)) end
  -- 504 is the HTTP client's own word for no answer in time.
  if asked and status and status ~= 504 then
    failures = 0
    return status, lines, body
  end
  failures = failures + 1
  if failures == 3 then asked_again = core.now().sec + 5 end
end

local function ask(txn)
  local received = txn.http:req_get_headers()
  local status, headers, body = answer(question(txn, received), VERIFY)
  if not is_verdict(status) then
    __UNANSWERED__
    return
  end
  txn:set_var("txn.noai_status", status)
  if status < 300 then
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

core.register_service("noai_document", "http", function(applet)
  local headers = {}
  for _, name in ipairs({ "user-agent", "if-none-match", __ADDRESS_NAMES__ }) do
    headers[name] = lines_of(applet.headers, name)
  end
  __DOCUMENT_CLIENT_ADDRESS__
  local status, lines, body = answer(headers, applet.path)
  if status and status < 500 then
    applet:set_status(status)
    for _, header in ipairs(lines) do
      if not NEVER_COPIED[header[1]] then applet:add_header(header[1], header[2]) end
    end
  else
    body = DOCUMENTS[applet.path][1]
    applet:set_status(200)
    applet:add_header("content-type", DOCUMENTS[applet.path][2])
    applet:add_header("cache-control", "public, max-age=3600")
    applet:add_header("access-control-allow-origin", "*")
  end
  if status ~= 304 then applet:add_header("content-length", tostring(#body)) end
  applet:start_response()
  if applet.method ~= "HEAD" and status ~= 304 then applet:send(body) end
end)
