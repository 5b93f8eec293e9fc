-- What is wished for the work that a path is part of (noai_guard/targets/work_map.py). Uses paths.lua, which stands
-- before it in the same chunk.

-- Return the number of the stricter of two wishes for each of the six usages (noai_guard/core/wish_index.py).
local function stricter_wish(one, other)
  local number, place = 0, 1
  for _ = 1, 6 do
    number = number + math.max(math.floor(one / place) % 3, math.floor(other / place) % 3) * place
    place = place * 3
  end
  return number
end

-- Return the numbers by name from lines of name, tab and number.
local function numbers_by_name(lines)
  local numbers = {}
  for name, number in gmatch(lines, "([^\t\n]*)\t([^\t\n]*)\n") do numbers[name] = tonumber(number) end
  return function(name) return numbers[name] end
end

-- True if a character is in one of the sorted ranges.
local function is_in(ranges, code)
  local first, last = 1, #ranges
  while first <= last do
    local middle = math.floor((first + last) / 2)
    local range = ranges[middle]
    if code < range[1] then
      last = middle - 1
    elseif code > range[2] then
      first = middle + 1
    else
      return true
    end
  end
  return false
end

-- True if a name is no other spelling of another one: its characters are those of ASCII, and those in the ranges.
local function is_plain(name, ranges)
  if find(name, "%c") then return false end
  local position = find(name, "[\128-\255]")
  while position do
    local lead, second, third = byte(name, position, position + 2)
    local last = lead < 224 and second or third
    if lead < 194 or lead > 239 or not last or second < 128 or second > 191 or last < 128 or last > 191 then return false end
    local code = lead < 224 and (lead - 192) * 64 + second - 128
      or (lead - 224) * 4096 + (second - 128) * 64 + third - 128
    if not is_in(ranges, code) then return false end
    position = find(name, "[\128-\255]", position + (lead < 224 and 2 or 3))
  end
  return true
end

-- Return a function from the readings of a path to the number of what is wished for the work, nil if nothing is.
local function wishes_by_path(works, folded)
  local function name_in(path, patterns)
    for _, chains in ipairs(patterns) do
      local found, name = matches(path, chains)
      if found and name then return name end
    end
    return nil
  end
  local function number_of(name)
    local key = lower(name)
    local letters = gsub(key, "%-", "")
    if letters ~= key and #letters == 12 and #key <= 15 and find(letters, "^%a%a%w%w%w%d%d%d%d%d%d%d$") then key = letters end
    return works.lookup(key) or (is_plain(name, works.plain) and works.unset or works.strictest)
  end
  return function(paths)
    local wish
    for _, path in ipairs(paths) do
      local name = name_in(path, works.patterns) or name_in(lower_path(path, folded), works.lower_patterns)
      if name then
        local number = number_of(name)
        wish = wish and stricter_wish(wish, number) or number
      end
    end
    if not wish or wish == works.unset then return nil end
    return works.numbers[wish] and wish or works.strictest
  end
end
