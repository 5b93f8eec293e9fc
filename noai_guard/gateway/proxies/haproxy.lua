-- __HEADER_COMMENT__
local VERIFY, URL = "__VERIFY__", "__URL__"
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
local function by_client(headers)
  local client = core.httpclient()
  local got = client:get({ url = URL, headers = headers, timeout = __TIMEOUT__ })
  if not got or not got.status or got.status == 0 then return nil end
  local lines = {}
  for name, values in pairs(got.headers) do
    for _, value in pairs(values) do lines[#lines + 1] = { name, value } end
  end
  return got.status, lines, got.body or ""
end

__EXCHANGE__

local function by_socket(headers)
  local lines = {}
  for name, values in pairs(headers) do
    for _, value in ipairs(values) do lines[#lines + 1] = name .. ": " .. value end
  end
  local socket = core.tcp()
  socket:settimeout(0.5)
  local status, got, body
  if socket:connect(__ADDRESS__) then status, got, body = exchanged(socket, lines, VERIFY) end
  socket:close()
  return status, got, body
end

local function answer(txn, received)
  return (BY_CLIENT and by_client or by_socket)(question(txn, received))
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

local function note(answered)
  failures = answered and 0 or failures + 1
  if failures == 3 then asked_again = core.now().sec + 5 end
end

local function ask(txn)
  local received = txn.http:req_get_headers()
  local asked, status, headers, body = true, nil, nil, nil
  if may_ask() then
    asked, status, headers, body = pcall(answer, txn, received)
    note(asked and status)
    if not asked then core.Warning("noai-guard: cannot ask: " .. tostring(status)) end
  end
  if not asked or not is_verdict(status) then
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
