-- Agents that the policy refuses: `^name` only at the start, `name*` also in a longer word.
local REFUSED = {
  __NAMES__
}

-- True if the name of one stands by itself in a User-Agent, for want of an answer of the gateway.
local function names_refused(user_agent)
  local text = user_agent:lower()
  for _, form in ipairs(REFUSED) do
    local at_start, name, family = form:match("^(%^?)(.-)(%*?)$")
    local first, last = text:find(name, 1, true)
    while first do
      local before, after = text:sub(first - 1, first - 1), text:match(family == "*" and "^[%w_-]*(.?)" or "^.?", last + 1)
      local begins = not before:find("[%w_./@-]") or not name:find("^[%w_-]")
      local ends = not after:find("[%w_.@-]") or (family == "" and not name:find("[%w_-]$"))
      if begins and ends and (at_start == "" or first == 1) then return true end
      first, last = text:find(name, first + 1, true)
    end
  end
  return false
end
