-- Tells whether Envoy has removed a User-Agent.

-- The address of "192.0.2.1:80" or "[2001:db8::1]:80".
local function without_port(address)
  return string.match(address, "^%[(.*)%]:%d+$") or string.match(address, "^(.*):%d+$")
end

-- Envoy removes the fields that Connection names before any filter runs (HTTP/1), so a User-Agent may be gone. Filters
-- see neither of the two, but Envoy has counted both: name, value and three bytes for each line (seen in 1.40).
-- Of `Connection: close, User-Agent` the `close` stays.
local NAMED_AND_GONE = #"connection" + #"user-agent" + 3 + #"user-agent" + 3
local NAMED_AMONG_OTHERS = #",user-agent" + #"user-agent" + 3
local ADDED = {["x-forwarded-proto"] = true, ["x-request-id"] = true, ["x-noai-header-bytes"] = true}

local function lost_user_agent(handle, headers)
  local received = tonumber(headers:get("x-noai-header-bytes"))
  if not received or headers:get("user-agent") or string.sub(handle:streamInfo():protocol(), 1, 6) ~= "HTTP/1" then
    return false
  end
  local peer = without_port(handle:streamInfo():downstreamDirectRemoteAddress()) or ""
  for name, value in pairs(headers) do
    name = name == ":authority" and "host" or name
    if name == "x-forwarded-for" then
      -- Envoy appends its peer, or its own address if that is on the same machine.
      local before, last = string.match(value, "^(.-),?%s*([^,%s]*)$")
      if last == peer or string.find(peer, "^127%.") or peer == "::1" then value = before end
    end
    local added = ADDED[name] or string.find(name, "^:") or string.find(name, "^x%-envoy%-") or value == ""
    if not added then received = received - #name - #value - 3 end
  end
  return received > (headers:get("connection") and NAMED_AMONG_OTHERS or NAMED_AND_GONE)
end
