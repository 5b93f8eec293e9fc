(function()
  -- All threads share a map, and `set map` on HAProxy's socket changes it.
  local numbers = Map.new(__NAMES_FILE__, Map._str)
  local function encoded(character) return string.format("%%%02x", string.byte(character)) end
  return function(name) return tonumber(numbers:lookup((gsub(name, "[^a-z0-9._~-]", encoded))) or "") end
end)()
