-- Runs for each response: adds the declared header lines of the section that contains the path.
local declared = __DECLARED__

local headers = lighty.r.resp_header
local reserved = headers["tdm-reservation"]

-- lighttpd joins the lines of a field into one value, in which each line but the first begins with the name.
local function has_line(value, expected)
  for line in string.gmatch(value, "[^\r\n]+") do
    if line == expected or string.sub(line, -#expected - 2) == ": " .. expected then return true end
  end
  return false
end

for _, field in ipairs(declared[tonumber(lighty.r.req_env["NOAI_SECTION"]) or 0]) do
  local name, value = field[1], field[2]
  local present = headers[name]
  if not present then
    if name ~= "tdm-policy" or not reserved then headers[name] = value end
  elseif (name == "x-robots-tag" or name == "link") and not has_line(present, value) then
    headers[name] = present .. "\r\n" .. name .. ": " .. value
  end
end
return 0
