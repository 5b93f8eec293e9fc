-- Request targets and path patterns, by the same steps as noai_guard/core/paths.py and path_patterns.py.
-- Uses percent_decoded and has of user_agents.lua.

-- Return the first max_characters characters (of UTF-8) of a text.
local function cut(text, max_characters)
  if #text <= max_characters then return text end
  local count = 0
  for position in gmatch(text, "()[^\128-\191]") do
    count = count + 1
    if count > max_characters then return sub(text, 1, position - 1) end
  end
  return text
end

local function normal_path(raw)
  if #raw <= 8192 and byte(raw) == SLASH and not has(raw, "//") and not has(raw, "/.") then return raw end
  if raw == "*" then return raw end
  raw = cut(raw, 65536)
  if byte(raw) ~= SLASH then
    local after_host = match(raw, "^[A-Za-z][A-Za-z0-9+.-]*://[^/]*()")
    if after_host then raw = sub(raw, after_host) end
  end
  local segments, depth, last = {}, 0, ""
  for segment in gmatch(raw, "[^/]+") do
    last = segment
    if segment == ".." then
      depth = depth > 0 and depth - 1 or 0
    elseif segment ~= "." then
      depth = depth + 1
      segments[depth] = segment
    end
  end
  if byte(raw, -1) == SLASH then last = "" end
  local path = "/" .. concat(segments, "/", 1, depth)
  if depth > 0 and (last == "" or last == "." or last == "..") then path = path .. "/" end
  local short = cut(path, 8192)
  return #short < #path and match(short, "^(.*/)%.%.?$") or short
end

local function without_query(target)
  local question_mark = find(target, "?", 1, true)
  return question_mark and sub(target, 1, question_mark - 1) or target
end

-- Return the path of a request target: without the query, percent-decoded once, normalised.
local function path_of(target)
  target = without_query(target)
  return normal_path(has(target, "%") and percent_decoded(target) or target)
end

-- True if servers read a raw path in different ways: ODD of noai_guard/core/paths.py.
local function is_odd(raw)
  if find(raw, "/[/.]") or find(raw, "[\\;#%z]") then return true end
  if has(raw, "%") then
    raw = lower(raw)
    for _, escape in ipairs({"%2f", "%5c", "%3b", "%25", "%00", "/%2e", "%e0%8", "%f0%80"}) do
      if has(raw, escape) then return true end
    end
    if find(raw, "%%c[01]%%[89ab]") then return true end
  end
  return find(raw, "[\192\193\224\240]") and (find(raw, "[\192\193][\128-\191]") or find(raw, "\224[\128-\159]")
    or find(raw, "\240\128")) and true or false
end

-- Characters in more bytes than UTF-8 allows become the characters that they stand for.
local function shortest(path)
  path = gsub(path, "([\192\193])([\128-\191])", function(first, second)
    return char((byte(first) - 192) * 64 + byte(second) - 128)
  end)
  local function last_two(first, second) return char((byte(first) - 128) % 2 * 64 + byte(second) - 128) end
  path = gsub(path, "\224([\128\129])([\128-\191])", last_two)
  return (gsub(path, "\240\128([\128\129])([\128-\191])", last_two))
end

-- Return a path in lower case; `folded` has the letters beyond ASCII that patterns have, in upper case -> in lower.
local function lower_path(path, folded)
  path = lower(path)
  if find(path, "[\128-\255]") then
    for upper, letter in pairs(folded) do path = gsub(path, upper, letter) end
  end
  return path
end

local MAX_PATH, MAX_ODD_PATH = 8192, 1024

-- Return the paths that servers read in a request target, the usual one first, by the steps of `readings` in
-- noai_guard/core/paths.py, and whether these are all.
local function readings(target)
  local raw = without_query(target)
  local text = has(raw, "%") and percent_decoded(raw) or raw
  local odd = is_odd(raw)
  if #raw > MAX_PATH or odd and #raw > MAX_ODD_PATH then return {normal_path(cut(text, MAX_PATH + 1))}, false end
  local plain = normal_path(text)
  if not odd then return {plain}, true end
  local ways, seen = {}, {}
  local function add(way)
    if not seen[way] then
      seen[way] = true
      ways[#ways + 1] = way
    end
  end
  -- Add what the function makes of each way that there is.
  local function add_all(make)
    for index = 1, #ways do add(make(ways[index])) end
  end
  local function encoded_dots(segment)
    return (segment == "." or segment == "..") and gsub(segment, "%.", "%%2e") or segment
  end
  add(text)
  add(percent_decoded((gsub(raw, "%%2[Ff]", "%%252F"))))
  add(percent_decoded((gsub(raw, ";[^/]*", ""))))
  add(shortest(text))
  add_all(percent_decoded)
  add_all(function(way) return (gsub(way, ";[^/]*", "")) end)
  add_all(function(way) return (gsub(way, "#.*", "")) end)
  add_all(function(way) return (gsub(way, "\\", "/")) end)
  add_all(function(way) return (gsub(way, "^//[^/]*", "")) end)
  add_all(function(way) return (gsub(way, "[^/]+", encoded_dots)) end)
  local paths, known = {plain}, {[plain] = true}
  for _, way in ipairs(ways) do
    local path = normal_path(way)
    if not known[path] then
      known[path] = true
      paths[#paths + 1] = path
    end
  end
  -- A server that is written in C may end the path at NUL, wherever that stands after decoding.
  for _, way in ipairs(ways) do
    if find(way, "%z") then return paths, false end
  end
  return paths, true
end

-- A path pattern is a list of chains, a chain a list of chunks, and a chunk a list of texts and these. A chunk that
-- begins with WORK has the name of a work before it.
local ONE, BELOW, END, WORK = 1, 2, 3, 4

-- Return the position after a chunk that matches at this position; nil if it does not match.
local function match_chunk(path, position, chunk)
  for _, item in ipairs(chunk) do
    if item == ONE then
      position = match(path, "^[^/][\128-\191]*()", position)
      if not position then return nil end
    elseif item == END then
      if position <= #path then return nil end
    elseif item == BELOW then
      if position <= #path and byte(path, position) ~= SLASH then return nil end
      position = position + 1
    elseif item ~= WORK then
      if sub(path, position, position + #item - 1) ~= item then return nil end
      position = position + #item
    end
  end
  return position
end

-- As match_chunk, at the first position in this segment at which the chunk matches. Also return the name before it.
local function match_chunk_in_segment(path, position, chunk)
  local stop = find(path, "/", position, true) or #path + 1
  local first, start = chunk[1], nil
  if first == WORK then
    first, start = chunk[2], position
    position = position + 1
  end
  while position <= stop do
    if first == END then position = stop end
    if type(first) == "string" then
      position = find(path, first, position, true)
      if not position or position > stop then return nil end
    end
    local after = match_chunk(path, position, chunk)
    if after then return after, start and sub(path, start, position - 1) end
    position = position + 1
  end
  return nil
end

local function match_chain(path, position, chain)
  local name, found
  for number, chunk in ipairs(chain) do
    if number == 1 and chain.lead ~= "deep" then
      position = match_chunk(path, position, chunk)
    else
      position, found = match_chunk_in_segment(path, position, chunk)
      name = found or name
    end
    if not position then return nil end
  end
  return position, name
end

-- Return true if a path matches a pattern, and the name of the work that the pattern finds in it.
local function matches(path, chains)
  local position, name = 1, nil
  for _, chain in ipairs(chains) do
    local after, found = match_chain(path, position, chain)
    while not after and chain.lead ~= "start" do
      position = find(path, "/", position, true)
      if not position then return false end
      position = position + 1
      after, found = match_chain(path, position, chain)
    end
    if not after then return false end
    position, name = after, found or name
  end
  return true, name
end

local function matches_any(path, patterns)
  for _, chains in ipairs(patterns) do
    if matches(path, chains) then return true end
  end
  return false
end
