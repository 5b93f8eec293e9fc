-- True for the statuses by which the gateway lets in or refuses.
local function is_verdict(status)
  return status and (status >= 200 and status < 300 or status == 402 or status == 403 or status == 429)
end

-- As much as crawlers read of a robots.txt, and more than any refusal has.
local MAX_BODY = 600 * 1024

-- Asks for a path over a connected socket; returns the status, header lines and body of the response, or nil. Then true
-- if the response has been read to its end, and the connection may be used again.
local function exchanged(socket, lines, path)
  local head = "GET " .. path .. " HTTP/1.1\r\nhost: noai-guard\r\nconnection: keep-alive\r\n"
  if not socket:send(head .. table.concat(lines, "\r\n") .. "\r\n\r\n") then return nil end
  local line = socket:receive("*l")
  local status = line and tonumber(line:match("^HTTP/1%.%d (%d%d%d)"))
  local headers, length, reusable = {}, 0, status == 204 or status == 304
  local closing = false
  while status do
    line = socket:receive("*l")
    if not line then return nil end
    local name, value = line:match("^([^:]+):%s*(.-)%s*$")
    if not name then break end
    name = name:lower()
    headers[#headers + 1] = { name, value }
    if name == "content-length" then
      length = tonumber(value) or 0
      reusable = length <= MAX_BODY
    elseif name == "transfer-encoding" or name == "connection" and value:lower() ~= "keep-alive" then
      closing = true
    end
  end
  if status == 204 or status == 304 then length = 0 end
  local body = ""
  if status and length > 0 then body = socket:receive(math.min(length, MAX_BODY)) end
  if not status or not body then return nil end
  return status, headers, body, reusable and not closing
end
