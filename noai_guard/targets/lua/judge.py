"""The judge in Lua: `new_guard(policy)`, where `policy` is what `noai_guard.targets.lua` writes."""

SOURCE = r"""
local function read_agents(lines)
  local agents = {}
  for rank, class, name, who in gmatch(lines, "([^\t\n]*)\t([^\t\n]*)\t([^\t\n]*)\t([^\t\n]*)\n") do
    agents[#agents + 1] = {place = #agents + 1, rank = tonumber(rank), class = class, name = name, who = who}
  end
  return agents
end

local function read_tokens(lines, agents)
  local by_anchor = {}
  for anchor, place, form in gmatch(lines, "([^\t\n]*)\t([^\t\n]*)\t([^\n]*)\n") do
    local token = {agent = agents[tonumber(place)], path = ""}
    if sub(form, 1, 2) == "//" then
      token.host = true
      token.text, token.path = match(form, "^//([^/]*)(.*)$")
    else
      token.at_start = sub(form, 1, 1) == "^"
      token.family = sub(form, -1) == "*"
      token.text = sub(form, token.at_start and 2 or 1, token.family and -2 or -1)
    end
    local list = by_anchor[anchor] or {}
    by_anchor[anchor] = list
    list[#list + 1] = token
  end
  return by_anchor
end

local function new_guard(policy)
  local agents = read_agents(policy.agents)
  local by_anchor = read_tokens(policy.tokens, agents)
  local unknown_bot = {place = #agents + 1, class = "unknown_bot", name = "unknown-bot", who = "This client"}
  local nobody = {place = #agents + 2, class = "unclaimed", name = "", who = "This client"}
  agents[#agents + 1] = unknown_bot
  agents[#agents + 1] = nobody
  local networks = {}
  for place, text in ipairs(policy.addresses) do networks[place] = network(text) end
  for place, decision in ipairs(policy.decisions) do decision.place = place end
  -- Agents and decisions know their place in these lists; answers are {status, headers}, by decision.answer.
  local guard = {agents = agents, decisions = policy.decisions, answers = policy.answers, path_of = path_of}

  local function hits(text)
    text = excerpt(text)
    if has(text, "%") or has(text, "\\") or not has(text, " ") then text = decoded(text) end
    text = lower(text)
    local found, seen = {}, {}
    for word in gmatch(text, "[a-z]+") do
      if by_anchor[word] and not seen[word] then
        seen[word] = true
        found[#found + 1] = word
      end
    end
    if #found == 0 then return found end
    table.sort(found)
    local names, hosts, places = {}, {}, 24
    for _, anchor in ipairs(found) do
      for _, token in ipairs(by_anchor[anchor]) do
        if token.host then
          hosts[#hosts + 1] = token
        else
          local first, last = find(text, token.text, 1, true)
          while first and places > 0 do
            places = places - 1
            if is_named(text, first, last, token) then
              names[#names + 1] = {token = token, first = first, last = last}
              break
            end
            first, last = find(text, token.text, first + 1, true)
          end
        end
      end
      if places == 0 then break end
    end
    if #names > 1 then return without_inner(names) end
    if #names == 0 and #hosts > 0 then return host_hits(text, hosts) end
    return names
  end

  local function outweighs(hit, other)
    local one, two = hit.token, other.token
    if one.agent.rank ~= two.agent.rank then return one.agent.rank < two.agent.rank end
    if hit.first ~= other.first then return hit.first < other.first end
    if #one.text ~= #two.text then return #one.text > #two.text end
    return one.agent.place < two.agent.place
  end

  local function recognised(user_agent)
    local best
    for _, hit in ipairs(hits(user_agent)) do
      if not best or outweighs(hit, best) then best = hit end
    end
    return best and best.token.agent or policy.unknown_bots and calls_itself_a_bot(user_agent) and unknown_bot or nobody
  end

  local seen, count = {}, 0

  -- The agent that a user agent (several lines joined by a line feed) names. Remembers 2,048 short user agents.
  function guard.agent(user_agent)
    if #user_agent > 1024 then return recognised(user_agent) end
    local agent = seen[user_agent]
    if agent then return agent end
    agent = recognised(user_agent)
    if count == 2048 then seen, count = {}, 0 end
    seen[user_agent], count = agent, count + 1
    return agent
  end

  -- The number of the section of the site that a path lies in; 0 is everywhere else.
  function guard.section(path)
    for _, section in ipairs(policy.sections) do
      if matches_any(path, policy.path_sets[section.paths]) then return section.number end
    end
    return 0
  end

  -- What an agent gets at a path: a decision, or nil where it is let in and nobody has to be told.
  function guard.decision(agent, path)
    for _, decision in ipairs(policy.classes[agent.class] or {}) do
      if not decision.paths or matches_any(path, policy.path_sets[decision.paths]) then
        return policy.decisions[decision.decision]
      end
    end
    return nil
  end

  function guard.is_harmless(agent) return not policy.classes[agent.class] end

  function guard.is_exempt(address)
    local found = #networks > 0 and address and address_bytes(address)
    for _, one in ipairs(found and networks or {}) do
      if inside(found, one) then return true end
    end
    return false
  end

  -- What the backend is told.
  function guard.verdict(decision, agent, exempt)
    if not decision then return "allow" end
    return (exempt and "allow; rule=exempt-address; agent=" or decision.said) .. agent.name
  end

  -- The text of a refusal.
  function guard.text(decision, agent) return agent.who .. decision.tail end

  -- The header lines of every response of a section, as pairs.
  function guard.declared(section) return policy.declared[section] end

  -- A document that is published at a path, and its status: 304 where its ETag is known already. Or nil.
  function guard.document(method, path, known)
    local document = policy.documents[path]
    if not document or method ~= "GET" and method ~= "HEAD" then return nil end
    local fresh = known and (has(known, document.etag) or match(known, "^%s*%*%s*$"))
    return document, fresh and 304 or 200
  end

  return guard
end
"""
