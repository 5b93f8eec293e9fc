-- Finds the names of agents in a User-Agent, by the same steps as noai_guard/core/user_agent_matcher.py.

local byte, char, concat = string.byte, string.char, table.concat
local find, gmatch, gsub, lower = string.find, string.gmatch, string.gsub, string.lower
local match, sub = string.match, string.sub

local function byte_set(text)
  local set = {}
  for position = 1, #text do set[byte(text, position)] = true end
  return set
end

local WORD = byte_set("abcdefghijklmnopqrstuvwxyz0123456789-_")
local DELIMITER = byte_set(" \t\n\r\v\f;,()<>[]{}\"'|")
local ADDRESS_CONTINUES = byte_set("@.+%")
local SPACE, DOT, SLASH = 32, 46, 47

local HEAD, TAIL, MAX_ESCAPES, MAX_ESCAPED_NAME = 1024, 512, 256, 256

-- Return the part of a User-Agent that is read closely: the head and the tail of one that is longer than HEAD.
local function excerpt(text)
  if #text <= HEAD then return text end
  return sub(text, 1, HEAD) .. "__" .. sub(text, -TAIL)
end

local function percent_decoded(text)
  return (gsub(text, "%%([0-9a-fA-F][0-9a-fA-F])", function(code) return char(tonumber(code, 16)) end))
end

-- Undo the escapes of access logs: \x41, \u0041; \n, \r and \t become spaces.
local function log_unescaped(text)
  local parts, start = {}, 1
  for backslash in gmatch(text, "()\\") do
    local escape = sub(text, backslash + 1, backslash + 5)
    local code, after = match(escape, "^x([0-9a-fA-F][0-9a-fA-F])()")
    if not code then code, after = match(escape, "^u00([0-9a-fA-F][0-9a-fA-F])()") end
    after = after or match(escape, "^[nrt]()")
    if after then
      parts[#parts + 1] = sub(text, start, backslash - 1)
      parts[#parts + 1] = code and char(tonumber(code, 16)) or " "
      start = backslash + after
    end
  end
  parts[#parts + 1] = sub(text, start)
  return concat(parts)
end

-- Percent-decode the name at the start of a chunk; nil if nothing is encoded there.
local function name_decoded(chunk)
  local stop = match(chunk, "^[A-Za-z0-9_.-]*%%[A-Za-z0-9_.%%-]*()")
  return stop and percent_decoded(sub(chunk, 1, stop - 1)) .. sub(chunk, stop)
end

local function has(text, character) return find(text, character, 1, true) ~= nil end

local function escapes_in(text) return has(text, "%") and select(2, gsub(text, "%%", "")) or 0 end

-- True if no part of a User-Agent, nor of its decoded form, is left out of close reading.
local function is_read_closely(text) return #text <= HEAD + TAIL and escapes_in(text) <= MAX_ESCAPES end

-- Decode every escape, wherever it stands, and twice: for what is searched for names, not read.
local function wholly_decoded(text)
  if has(text, "\\") then text = log_unescaped(text) end
  return has(text, "%") and percent_decoded(percent_decoded(text)) or text
end

-- Undo what logs, proxies and apps do to a User-Agent: escapes, and plus or underscore instead of spaces.
local function decoded(text)
  if has(text, "\\") then text = log_unescaped(text) end
  if has(text, "%") and escapes_in(text) <= MAX_ESCAPES then
    if has(text, " ") then return (gsub(text, "[^ \t\n\r\v\f;,(]+", name_decoded)) end
    text = percent_decoded(text)
    if has(text, "%") and not has(text, " ") then text = percent_decoded(text) end
  end
  if has(text, " ") then return text end
  if has(text, "+") then return (gsub(text, "%+", " ")) end
  if sub(text, 1, 8) == "Mozilla/" then return (gsub(text, "_", " ")) end
  return text
end

-- True if the text before this position is the first part of a URL, a domain name or an e-mail address.
local function is_inside_address(text, position)
  local start, limit = position, position > 512 and position - 512 or 1
  while start > limit and not DELIMITER[byte(text, start - 1)] do start = start - 1 end
  local before = sub(text, start, position - 1)
  return has(before, "://") or has(before, "@") or has(before, "?") or find(before, "[a-z0-9]%.$")
    or find(before, "[a-z0-9-]%.[a-z][a-z]+/") or find(before, "[a-z0-9-]%.[a-z][a-z]+:[0-9]+/")
end

-- True if the text continues a name as a domain name or an e-mail address.
local function continues_as_address(text)
  local after = match(text, "^[^ \t\n\r\v\f;,()<>%[%]{}\"'|]*")
  if has(after, "@") then return true end
  local rest = match(after, "^%.[a-z][a-z]+(.*)")
  return rest and not find(rest, "^[a-z0-9-]*[0-9]") and not find(rest, "^[a-z0-9-]*%.[0-9]")
end

-- True if the token at [first, last] of the text is a name, not a part of a word or of an address.
local function is_name(text, first, last, token)
  local previous = first > 1 and byte(text, first - 1) or SPACE
  local following = byte(text, last + 1) or SPACE
  if WORD[previous] and WORD[byte(token.text)] then return false end
  if previous == SLASH and first > 2 and byte(text, first - 2) == SLASH then return false end
  if WORD[following] and WORD[byte(token.text, -1)] and not token.family then return false end
  if token.at_start then
    local before = sub(text, first > 8 and first - 8 or 1, first - 1)
    if not find(before, "^[ \t\n\r\v\f\"'(]*$") and not find(before, "\n[ \t\n\r\v\f\"'(]*$") then return false end
  end
  local ends_before = DELIMITER[previous] or DELIMITER[byte(token.text)]
  if not ends_before and is_inside_address(text, first) then return false end
  if token.family then
    last = match(text, "^[A-Za-z0-9_-]*()", last + 1) - 1
    following = byte(text, last + 1) or SPACE
  end
  return not ADDRESS_CONTINUES[following] or not continues_as_address(sub(text, last + 1, last + 512))
end

-- Parse a URL behind its "//": return host, path or nil, the position after it and the position of the host.
-- Return nil if there is no host.
local function parse_url(text, start)
  local function parse_host(position)
    local stop = match(text, "^[a-z0-9.-]+()", position)
    if not stop then return nil end
    if stop > position + 255 then stop = position + 255 end
    local after = stop
    local port = match(text, "^:([0-9]+)", after)
    if port then after = after + 1 + (#port > 5 and 5 or #port) end
    local path = match(text, "^/[^ \t\n\r\v\f;,()<>]*", after)
    if path then path = sub(path, 1, 256) end
    return sub(text, position, stop - 1), path, after + (path and #path or 0), position
  end
  local at_sign = match(text, "^[^ \t\n\r\v\f/@;,()<>]*()@", start)
  local host, path, after, position
  if at_sign and at_sign - start <= 64 then host, path, after, position = parse_host(at_sign + 1) end
  if not host then host, path, after, position = parse_host(start) end
  return host, path, after, position
end

-- Return a hit for each token that is the host, or a parent domain, of a URL in the text.
local function host_hits(text, tokens)
  local hits, position = {}, 1
  while true do
    local _, last = find(text, "https?://", position)
    if not last then return hits end
    local host, path, after, start = parse_url(text, last + 1)
    if host then
      local stop = #host
      while byte(host, stop) == DOT do stop = stop - 1 end
      host = sub(host, 1, stop)
      for _, token in ipairs(tokens) do
        local matches = host == token.text or sub(host, -#token.text - 1) == "." .. token.text
        if matches and sub(path or "/", 1, #token.path) == token.path then
          hits[#hits + 1] = {token = token, first = start, last = start}
        end
      end
    end
    position = after or last
  end
end

-- Return the hits that do not lie inside a longer one.
local function outermost(hits)
  local outer = {}
  for _, hit in ipairs(hits) do
    local inside = false
    for _, other in ipairs(hits) do
      inside = inside or other.first <= hit.first and hit.last <= other.last
        and hit.last - hit.first < other.last - other.first
    end
    if not inside then outer[#outer + 1] = hit end
  end
  return outer
end

-- As CALLS_ITSELF_A_BOT of noai_guard/core/guard.py, in a text in lower case. "cubot" is a brand of phones.
local function has_bot_word(text)
  for _, word in ipairs({"bot", "crawler", "spider", "scraper", "fetcher", "archiver"}) do
    for after in gmatch(text, word .. "()") do
      local phone = word == "bot" and after > 5 and sub(text, after - 5, after - 4) == "cu"
      local following = byte(text, after) or SPACE
      if not phone and (following < 97 or following > 122) then return true end
    end
  end
  return false
end

local function calls_itself_a_bot(text)
  text = excerpt(text)
  if has_bot_word(lower(text)) then return true end
  return (has(text, "%") or has(text, "\\")) and has_bot_word(lower(decoded(text)))
end

-- Return a function that calls found(value) for each value of by_text whose text stands in a text in lower case. Its
-- time grows with the length of the text: texts are looked up by their first three bytes.
local function searcher(by_text)
  local by_start, short = {}, {}
  for text in pairs(by_text) do
    if #text < 3 then
      short[#short + 1] = text
    else
      local start = sub(text, 1, 3)
      by_start[start] = by_start[start] or {}
      by_start[start][#by_start[start] + 1] = text
    end
  end
  return function(text, found)
    for _, other in ipairs(short) do
      if has(text, other) then found(by_text[other]) end
    end
    for position = 1, #text - 2 do
      for _, other in ipairs(by_start[sub(text, position, position + 2)] or {}) do
        if sub(text, position, position + #other - 1) == other then found(by_text[other]) end
      end
    end
  end
end
