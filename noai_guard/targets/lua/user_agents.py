"""Find names in user agents, in Lua, by the same steps as `core.user_agent_matcher` and `core.guard`."""

SOURCE = r"""
local byte, char, concat = string.byte, string.char, table.concat
local find, gmatch, gsub, lower = string.find, string.gmatch, string.gsub, string.lower
local match, sub = string.match, string.sub

local function bytes(text)
  local found = {}
  for at = 1, #text do found[byte(text, at)] = true end
  return found
end

local WORD = bytes("abcdefghijklmnopqrstuvwxyz0123456789-_")
local DELIMITER = bytes(" \t\n\r\v\f;,()<>[]{}\"'|")
local ADDRESS_GOES_ON = bytes("@.+%")
local BLANK, DOT, SLASH = 32, 46, 47

-- A user agent that is longer than 1,024 bytes is read at its head and its tail.
local function excerpt(text)
  if #text <= 1024 then return text end
  return sub(text, 1, 1024) .. "__" .. sub(text, -512)
end

local function unquoted(text)
  return (gsub(text, "%%([0-9a-fA-F][0-9a-fA-F])", function(code) return char(tonumber(code, 16)) end))
end

local function log_unescaped(text)
  local parts, from = {}, 1
  local at = find(text, "\\", 1, true)
  while at do
    local code, after = match(text, "^x([0-9a-fA-F][0-9a-fA-F])()", at + 1)
    if not code then code, after = match(text, "^u00([0-9a-fA-F][0-9a-fA-F])()", at + 1) end
    after = after or match(text, "^[nrt]()", at + 1)
    if after then
      parts[#parts + 1] = sub(text, from, at - 1)
      parts[#parts + 1] = code and char(tonumber(code, 16)) or " "
      from = after
    end
    at = find(text, "\\", after or at + 1, true)
  end
  parts[#parts + 1] = sub(text, from)
  return concat(parts)
end

local function name_unquoted(chunk)
  local stop = match(chunk, "^[A-Za-z0-9_.-]*%%[A-Za-z0-9_.%%-]*()")
  return stop and unquoted(sub(chunk, 1, stop - 1)) .. sub(chunk, stop)
end

local function has(text, character) return find(text, character, 1, true) ~= nil end

-- Undoes what logs, proxies and apps do to user agents: escapes, plus or underscore for blanks.
local function decoded(text)
  if has(text, "\\") then text = log_unescaped(text) end
  if has(text, "%") and select(2, gsub(text, "%%", "")) <= 256 then
    if has(text, " ") then return (gsub(text, "[^ \t\n\r\v\f;,(]+", name_unquoted)) end
    text = unquoted(text)
    if has(text, "%") and not has(text, " ") then text = unquoted(text) end
  end
  if has(text, " ") then return text end
  if has(text, "+") then return (gsub(text, "%+", " ")) end
  if sub(text, 1, 8) == "Mozilla/" then return (gsub(text, "_", " ")) end
  return text
end

-- Whether what ends before this place is the first part of a URL, a domain name or an e-mail address.
local function goes_on_before(text, place)
  local from, least = place, place > 512 and place - 512 or 1
  while from > least and not DELIMITER[byte(text, from - 1)] do from = from - 1 end
  local before = sub(text, from, place - 1)
  return has(before, "://") or has(before, "@") or has(before, "?") or find(before, "[a-z0-9]%.$")
    or find(before, "[a-z0-9-]%.[a-z][a-z]+/") or find(before, "[a-z0-9-]%.[a-z][a-z]+:[0-9]+/")
end

-- Whether a name goes on as a domain name or an e-mail address.
local function goes_on_after(text)
  local after = match(text, "^[^ \t\n\r\v\f;,()<>%[%]{}\"'|]*")
  if has(after, "@") then return true end
  local rest = match(after, "^%.[a-z][a-z]+(.*)")
  return rest and not find(rest, "^[a-z0-9-]*[0-9]") and not find(rest, "^[a-z0-9-]*%.[0-9]")
end

-- Whether the token that stands from first to last in the text is a name there.
local function is_named(text, first, last, token)
  local previous = first > 1 and byte(text, first - 1) or BLANK
  local following = byte(text, last + 1) or BLANK
  if WORD[previous] and WORD[byte(token.text)] then return false end
  if previous == SLASH and first > 2 and byte(text, first - 2) == SLASH then return false end
  if WORD[following] and WORD[byte(token.text, -1)] and not token.family then return false end
  if token.at_start then
    local before = sub(text, first > 8 and first - 8 or 1, first - 1)
    if not find(before, "^[ \t\n\r\v\f\"'(]*$") and not find(before, "\n[ \t\n\r\v\f\"'(]*$") then return false end
  end
  if not DELIMITER[previous] and goes_on_before(text, first) then return false end
  if token.family then
    last = match(text, "^[A-Za-z0-9_-]*()", last + 1) - 1
    following = byte(text, last + 1) or BLANK
  end
  return not ADDRESS_GOES_ON[following] or not goes_on_after(sub(text, last + 1, last + 512))
end

-- Of a URL's rest behind "//": host, and path or nil, and where it ends; nil where there is no host.
local function url(text, from)
  local function host(at)
    local last = match(text, "^[a-z0-9.-]+()", at)
    if not last then return nil end
    if last > at + 255 then last = at + 255 end
    local after = last
    local digits = match(text, "^:([0-9]+)", after)
    if digits then after = after + 1 + (#digits > 5 and 5 or #digits) end
    local path = match(text, "^/[^ \t\n\r\v\f;,()<>]*", after)
    if path then path = sub(path, 1, 256) end
    return sub(text, at, last - 1), path, after + (path and #path or 0), at
  end
  local user = match(text, "^[^ \t\n\r\v\f/@;,()<>]*()@", from)
  local found, path, after, at
  if user and user - from <= 64 then found, path, after, at = host(user + 1) end
  if not found then found, path, after, at = host(from) end
  return found, path, after, at
end

local function host_hits(text, tokens)
  local hits, at = {}, 1
  text = sub(text, 1, 1536)
  while true do
    local _, last = find(text, "https?://", at)
    if not last then return hits end
    local host, path, after, start = url(text, last + 1)
    if host then
      local stop = #host
      while byte(host, stop) == DOT do stop = stop - 1 end
      host = sub(host, 1, stop)
      for _, token in ipairs(tokens) do
        local ours = host == token.text or sub(host, -#token.text - 1) == "." .. token.text
        if ours and sub(path or "/", 1, #token.path) == token.path then
          hits[#hits + 1] = {token = token, first = start, last = start}
        end
      end
    end
    at = after or last
  end
end

local function without_inner(hits)
  local found = {}
  for _, hit in ipairs(hits) do
    local inside = false
    for _, other in ipairs(hits) do
      inside = inside or other.first <= hit.first and hit.last <= other.last
        and hit.last - hit.first < other.last - other.first
    end
    if not inside then found[#found + 1] = hit end
  end
  return found
end

local function calls_itself_a_bot(text)
  text = lower(excerpt(text))
  for _, word in ipairs({"bot", "crawler", "spider", "scraper", "fetcher", "archiver"}) do
    local first, last = find(text, word, 1, true)
    while first do
      local phone = word == "bot" and first > 2 and sub(text, first - 2, first - 1) == "cu"
      if not phone and not find(text, "^[a-z]", last + 1) then return true end
      first, last = find(text, word, last + 1, true)
    end
  end
  return false
end
"""
