-- __HEADER_COMMENT__
local GATEWAY, PORT, URL = "__ADDRESS__", __PORT__, "__URL__"
local VERIFY, ADDRESS_HEADER = "__VERIFY__", "__ADDRESS_HEADER__"
local BY_CLIENT = ... == "httpclient"
local LEFT_OUT = { host = true, connection = true, ["content-length"] = true, ["transfer-encoding"] = true, te = true,
  upgrade = true, expect = true, cookie = true, authorization = true, __LEFT_OUT__ }
local PASSED_ON = { __PASSED_ON__ }
local NEVER_COPIED = { connection = true, ["content-length"] = true, ["transfer-encoding"] = true,
  ["keep-alive"] = true, date = true, server = true }

-- Headers of the request to the gateway: the client's, and those that only the proxy may set.
local function question(txn)
  local headers, addresses = {}, {}
  for name, values in pairs(txn.http:req_get_headers()) do
    for _, value in pairs(values) do
      if name == ADDRESS_HEADER and __APPENDS__ then
        addresses[#addresses + 1] = value
      elseif not LEFT_OUT[name] then
        headers[name] = headers[name] or {}
        table.insert(headers[name], value)
      end
    end
  end
  if __SETS_ADDRESS__ then
    addresses[#addresses + 1] = txn.f:src()
    headers[ADDRESS_HEADER] = { table.concat(addresses, ", ") }
  end
  headers["x-original-method"] = { txn.f:method() }
  headers["x-original-uri"] = { txn.f:pathq() }
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
