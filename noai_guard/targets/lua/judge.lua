-- The judge: new_guard(policy), with the table that noai_guard/targets/lua/__init__.py generates.
-- Uses user_agents.lua, paths.lua and addresses.lua, which stand before it in the same chunk.

local MAX_COMPARISONS = 24
local MAX_REMEMBERED = 2048

local function parse_agents(lines)
  local agents = {}
  for rank, class, name, subject in gmatch(lines, "([^\t\n]*)\t([^\t\n]*)\t([^\t\n]*)\t([^\t\n]*)\n") do
    local index = #agents + 1
    agents[index] = {index = index, rank = tonumber(rank), class = class, name = name, subject = subject}
  end
  return agents
end

local function parse_tokens(lines, agents)
  local by_anchor = {}
  for anchor, index, form in gmatch(lines, "([^\t\n]*)\t([^\t\n]*)\t([^\n]*)\n") do
    local token = {agent = agents[tonumber(index)], path = ""}
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

local function outweighs(hit, other)
  local token, other_token = hit.token, other.token
  if token.agent.rank ~= other_token.agent.rank then return token.agent.rank < other_token.agent.rank end
  if hit.first ~= other.first then return hit.first < other.first end
  if #token.text ~= #other_token.text then return #token.text > #other_token.text end
  return token.agent.index < other_token.agent.index
end

local function new_guard(policy)
  local agents = parse_agents(policy.agents)
  local by_anchor = parse_tokens(policy.tokens, agents)
  local unknown_bot = {index = #agents + 1, class = "unknown_bot", name = "unknown-bot", subject = "This client"}
  local unclaimed = {index = #agents + 2, class = "unclaimed", name = "", subject = "This client"}
  agents[#agents + 1] = unknown_bot
  agents[#agents + 1] = unclaimed
  local networks = {}
  for index, text in ipairs(policy.addresses) do networks[index] = network(text) end
  for index, decision in ipairs(policy.decisions) do decision.index = index end
  -- agents[i].index and decisions[i].index are i. decision.refusal is an index of refusals, nil if it does not refuse.
  local guard = {
    agents = agents,
    decisions = policy.decisions,
    refusals = policy.refusals,
    has_sections = #policy.sections > 0,
    has_networks = #networks > 0,
    path_of = path_of,
  }

  -- Return the anchors that are words of the text, sorted.
  local function anchors_in(text)
    local anchors, seen = {}, {}
    for word in gmatch(text, "[a-z]+") do
      if by_anchor[word] and not seen[word] then
        seen[word] = true
        anchors[#anchors + 1] = word
      end
    end
    table.sort(anchors)
    return anchors
  end

  local function hits_in(text)
    text = excerpt(text)
    if has(text, "%") or has(text, "\\") or not has(text, " ") then text = decoded(text) end
    text = lower(text)
    local names, hosts, comparisons = {}, {}, 0
    for _, anchor in ipairs(anchors_in(text)) do
      for _, token in ipairs(by_anchor[anchor]) do
        if token.host then
          hosts[#hosts + 1] = token
        else
          local first, last = find(text, token.text, 1, true)
          while first and comparisons < MAX_COMPARISONS do
            comparisons = comparisons + 1
            if is_name(text, first, last, token) then
              names[#names + 1] = {token = token, first = first, last = last}
              break
            end
            first, last = find(text, token.text, first + 1, true)
          end
        end
      end
      if comparisons == MAX_COMPARISONS then break end
    end
    if #names > 1 then return outermost(names) end
    if #names == 0 and #hosts > 0 then return host_hits(text, hosts) end
    return names
  end

  local function recognise(user_agent)
    local best
    for _, hit in ipairs(hits_in(user_agent)) do
      if not best or outweighs(hit, best) then best = hit end
    end
    if best then return best.token.agent end
    return policy.detects_unknown_bots and calls_itself_a_bot(user_agent) and unknown_bot or unclaimed
  end

  local remembered, count = {}, 0

  -- Return the agent that a User-Agent names (several lines joined by line feeds). Remembers short User-Agents.
  function guard.agent_of(user_agent)
    if #user_agent > 1024 then return recognise(user_agent) end
    local agent = remembered[user_agent]
    if agent then return agent end
    agent = recognise(user_agent)
    if count == MAX_REMEMBERED then remembered, count = {}, 0 end
    remembered[user_agent], count = agent, count + 1
    return agent
  end

  -- Return the number of the section of the site that contains a path; 0 outside of every section.
  function guard.section_of(path)
    for _, section in ipairs(policy.sections) do
      if matches_any(path, policy.path_sets[section.paths]) then return section.number end
    end
    return 0
  end

  -- Return the decision for an agent at a path; nil if the agent is allowed without a note to the backend.
  function guard.decide(agent, path)
    for _, row in ipairs(policy.classes[agent.class] or {}) do
      if not row.paths or matches_any(path, policy.path_sets[row.paths]) then
        return policy.decisions[row.decision]
      end
    end
    return nil
  end

  -- True if decide() returns something other than nil for some path.
  function guard.is_restricted(agent) return policy.classes[agent.class] ~= nil end

  function guard.is_exempt(address)
    local bytes = guard.has_networks and address and address_bytes(address)
    for _, net in ipairs(bytes and networks or {}) do
      if is_in_network(bytes, net) then return true end
    end
    return false
  end

  -- Return the value of X-NoAI-Verdict.
  function guard.verdict(decision, agent, exempt)
    if not decision then return "allow" end
    return (exempt and "allow; rule=exempt-address; agent=" or decision.verdict) .. agent.name
  end

  function guard.refusal_text(decision, agent) return agent.subject .. decision.tail end

  -- Return the header lines of every response of a section, as pairs of name and value.
  function guard.declared(section) return policy.declared[section] end

  -- Return the document at a path and its status: 304 if If-None-Match has its ETag. Nil if there is none.
  function guard.document(method, path, if_none_match)
    local document = policy.documents[path]
    if not document or method ~= "GET" and method ~= "HEAD" then return nil end
    local unchanged = if_none_match and (has(if_none_match, document.etag) or match(if_none_match, "^%s*%*%s*$"))
    return document, unchanged and 304 or 200
  end

  return guard
end
