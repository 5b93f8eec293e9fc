"""Request targets and path patterns in Lua: `noai_guard.core.paths`, step by step."""

SOURCE = r"""
-- The first characters (of UTF-8) of a text.
local function cut(text, most)
  if #text <= most then return text end
  local count = 0
  for at in gmatch(text, "()[^\128-\191]") do
    count = count + 1
    if count > most then return sub(text, 1, at - 1) end
  end
  return text
end

local function normal_path(raw)
  if #raw <= 8192 and byte(raw) == SLASH and not has(raw, "//") and not has(raw, "/.") then return raw end
  if raw == "*" then return raw end
  raw = cut(raw, 65536)
  if byte(raw) ~= SLASH then
    local stop = match(raw, "^[A-Za-z][A-Za-z0-9+.-]*://[^/]*()")
    if stop then raw = sub(raw, stop) end
  end
  local kept, depth, last = {}, 0, ""
  for segment in gmatch(raw, "[^/]+") do
    last = segment
    if segment == ".." then
      depth = depth > 0 and depth - 1 or 0
    elseif segment ~= "." then
      depth = depth + 1
      kept[depth] = segment
    end
  end
  if byte(raw, -1) == SLASH then last = "" end
  local path = "/" .. concat(kept, "/", 1, depth)
  if depth > 0 and (last == "" or last == "." or last == "..") then path = path .. "/" end
  local short = cut(path, 8192)
  return #short < #path and match(short, "^(.*/)%.%.?$") or short
end

-- The path of a request target, percent-decoded once and normalised. What follows a question mark is no path.
local function path_of(target)
  local stop = find(target, "?", 1, true)
  if stop then target = sub(target, 1, stop - 1) end
  return normal_path(has(target, "%") and unquoted(target) or target)
end

-- Path patterns are chains of chunks; a chunk is texts and these.
local ONE, BELOW, END = 1, 2, 3

-- Where a chunk that begins here ends; nil where it does not fit.
local function fit(path, at, chunk)
  for _, item in ipairs(chunk) do
    if item == ONE then
      at = match(path, "^[^/][\128-\191]*()", at)
      if not at then return nil end
    elseif item == END then
      if at <= #path then return nil end
    elseif item == BELOW then
      if at <= #path and byte(path, at) ~= SLASH then return nil end
      at = at + 1
    else
      if sub(path, at, at + #item - 1) ~= item then return nil end
      at = at + #item
    end
  end
  return at
end

-- As fit, at the first place in this segment where the chunk fits.
local function fit_in_segment(path, at, chunk)
  local stop = find(path, "/", at, true) or #path + 1
  local first = chunk[1]
  while at <= stop do
    if first == END then at = stop end
    if type(first) == "string" then
      at = find(path, first, at, true)
      if not at or at > stop then return nil end
    end
    local after = fit(path, at, chunk)
    if after then return after end
    at = at + 1
  end
  return nil
end

local function fit_chunks(path, at, chain)
  for place, chunk in ipairs(chain) do
    if place == 1 and chain.lead ~= "deep" then
      at = fit(path, at, chunk)
    else
      at = fit_in_segment(path, at, chunk)
    end
    if not at then return nil end
  end
  return at
end

local function matches(path, chains)
  local at = 1
  for _, chain in ipairs(chains) do
    local after = fit_chunks(path, at, chain)
    while not after and chain.lead ~= "start" do
      at = find(path, "/", at, true)
      if not at then return false end
      at = at + 1
      after = fit_chunks(path, at, chain)
    end
    if not after then return false end
    at = after
  end
  return true
end

local function matches_any(path, globs)
  for _, chains in ipairs(globs) do
    if matches(path, chains) then return true end
  end
  return false
end
"""
