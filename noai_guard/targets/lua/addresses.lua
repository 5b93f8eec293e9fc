-- Client addresses and networks.

local function ip6_bytes(part)
  local list = {}
  for group in gmatch(part, "[^:]+") do
    local value = #group <= 4 and tonumber(group, 16) or 0
    list[#list + 1] = math.floor(value / 256)
    list[#list + 1] = value % 256
  end
  return list
end

-- Return the 4 or 16 bytes of an address as servers write it; IPv4 in IPv6 is IPv4. Return nil if it is no address.
local function address_bytes(text)
  text = match(text, "^::[fF][fF][fF][fF]:(%d+%.%d+%.%d+%.%d+)$") or match(text, "^[^%%]*")
  local a, b, c, d = match(text, "^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a then return {tonumber(a), tonumber(b), tonumber(c), tonumber(d)} end
  local head, tail = match(text, "^(.-)::(.*)$")
  local list, rest = ip6_bytes(head or text), ip6_bytes(tail or "")
  if head then
    while #list + #rest < 16 do list[#list + 1] = 0 end
    for _, value in ipairs(rest) do list[#list + 1] = value end
  end
  return #list == 16 and list or nil
end

-- Parse "192.0.2.0/24".
local function network(text)
  local address, bits = match(text, "^(.*)/(%d+)$")
  return {bytes = address_bytes(address), bits = tonumber(bits)}
end

local function is_in_network(address, net)
  if #address ~= #net.bytes then return false end
  local whole_bytes = math.floor(net.bits / 8)
  for index = 1, whole_bytes do
    if address[index] ~= net.bytes[index] then return false end
  end
  local divisor = 2 ^ (8 - net.bits % 8)
  local next_byte = whole_bytes + 1
  return divisor == 256 or math.floor(address[next_byte] / divisor) == math.floor(net.bytes[next_byte] / divisor)
end
