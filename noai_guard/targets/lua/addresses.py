"""Client addresses and networks in Lua."""

SOURCE = r"""
local function ip6_groups(part)
  local list = {}
  for group in gmatch(part, "[^:]+") do
    local value = #group <= 4 and tonumber(group, 16) or 0
    list[#list + 1] = math.floor(value / 256)
    list[#list + 1] = value % 256
  end
  return list
end

-- An address, as a server writes it, as a list of 4 or 16 numbers; IPv4 in IPv6 is IPv4. Nil where it is none.
local function address_bytes(text)
  text = match(text, "^::[fF][fF][fF][fF]:(%d+%.%d+%.%d+%.%d+)$") or match(text, "^[^%%]*")
  local a, b, c, d = match(text, "^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a then return {tonumber(a), tonumber(b), tonumber(c), tonumber(d)} end
  local head, tail = match(text, "^(.-)::(.*)$")
  local found, rest = ip6_groups(head or text), ip6_groups(tail or "")
  if head then
    while #found + #rest < 16 do found[#found + 1] = 0 end
    for _, value in ipairs(rest) do found[#found + 1] = value end
  end
  return #found == 16 and found or nil
end

local function network(text)
  local address, bits = match(text, "^(.*)/(%d+)$")
  return {bytes = address_bytes(address), bits = tonumber(bits)}
end

local function inside(address, found)
  if #address ~= #found.bytes then return false end
  local whole = math.floor(found.bits / 8)
  for place = 1, whole do
    if address[place] ~= found.bytes[place] then return false end
  end
  local rest = 2 ^ (8 - found.bits % 8)
  return rest == 256 or math.floor(address[whole + 1] / rest) == math.floor(found.bytes[whole + 1] / rest)
end
"""
