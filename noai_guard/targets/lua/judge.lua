-- The judge: new_guard(policy), with the table that noai_guard/targets/lua/__init__.py generates.
-- Uses user_agents.lua, paths.lua, works.lua and addresses.lua, which stand before it in the same chunk.

local MAX_POSITIONS = 24
local MAX_REMEMBERED = 2048

local function parse_agents(lines)
  local agents = {}
  for rank, class, name, subject in gmatch(lines, "([^\t\n]*)\t([^\t\n]*)\t([^\t\n]*)\t([^\t\n]*)\n") do
    local index = #agents + 1
    agents[index] = {index = index, rank = tonumber(rank), class = class, name = name, subject = subject}
  end
  return agents
end

-- Return the tokens by anchor, and by text the agents with a token that has this text.
local function parse_tokens(lines, agents)
  local by_anchor, by_text = {}, {}
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
    local written = token.text .. token.path
    by_text[written] = by_text[written] or {}
    by_text[written][token.agent] = true
  end
  return by_anchor, by_text
end

-- True if a User-Agent is missing or one word, in which nothing is encoded.
local function is_single_word(user_agent)
  local word = match(user_agent, "^%s*(.-)%s*$")
  return #word <= 256 and not find(word, "[^!-$&'*,-[%]^-~]")
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
  local by_anchor, by_text = parse_tokens(policy.tokens, agents)
  local unknown_bot = {index = #agents + 1, class = "unknown_bot", name = "unknown-bot", subject = "This client"}
  local unclaimed = {index = #agents + 2, class = "unclaimed", name = "", subject = "This client"}
  local nameless = {index = #agents + 3, class = "nameless", name = "nameless", subject = "This client"}
  agents[#agents + 1] = unknown_bot
  agents[#agents + 1] = unclaimed
  agents[#agents + 1] = nameless
  local networks = {}
  for index, text in ipairs(policy.addresses) do networks[index] = network(text) end
  for index, decision in ipairs(policy.decisions) do decision.index = index end
  -- agents[i].index and decisions[i].index are i. decision.refusal is an index of refusals, nil if it does not refuse.
  -- A claim is an agent, or {agent = the agent that is named, hidden = agents that are named where nothing is read
  -- closely}.
  local guard = {
    agents = agents,
    decisions = policy.decisions,
    refusals = policy.refusals,
    has_sections = #policy.sections > 0,
    has_networks = #networks > 0,
    path_of = path_of,
  }
  local wish_of = policy.works and wishes_by_path(policy.works, policy.folded) or function() return nil end

  local function is_restricted(agent) return policy.classes[agent.class] ~= nil end

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

  -- Add the names and the hosts in a text to the lists. Return false if not all positions could be examined.
  local function search(text, names, hosts)
    local found, host_tokens, positions = {}, {}, MAX_POSITIONS
    for _, anchor in ipairs(anchors_in(text)) do
      for _, token in ipairs(by_anchor[anchor]) do
        if token.host then
          host_tokens[#host_tokens + 1] = token
        else
          local first, last = find(text, token.text, 1, true)
          while first and positions > 0 do
            positions = positions - 1
            if is_name(text, first, last, token) then
              found[#found + 1] = {token = token, first = first, last = last}
              break
            end
            first, last = find(text, token.text, first + 1, true)
          end
        end
      end
    end
    for _, hit in ipairs(#found > 1 and outermost(found) or found) do names[#names + 1] = hit end
    if #host_tokens > 0 and #names == 0 then
      for _, hit in ipairs(host_hits(text, host_tokens)) do hosts[#hosts + 1] = hit end
    end
    return positions > 0
  end

  local search_anywhere = searcher(by_text)

  -- Return the agents other than this one that are restricted and named in what is not read closely.
  local function hidden_in(user_agent, agent)
    local unread = user_agent
    if #unread > HEAD + TAIL then unread = sub(unread, HEAD - MAX_ESCAPED_NAME + 1, MAX_ESCAPED_NAME - TAIL - 1) end
    local hidden, classes = {}, {}
    local function add(others)
      for other in pairs(others) do
        if other ~= agent and is_restricted(other) and not classes[other.class] then
          classes[other.class] = true
          hidden[#hidden + 1] = other
        end
      end
    end
    local text, plain = lower(unread), lower(wholly_decoded(unread))
    search_anywhere(text, add)
    if plain ~= text then search_anywhere(plain, add) end
    return hidden
  end

  local function recognise(user_agent)
    local text = excerpt(user_agent)
    local names, hosts, complete = {}, {}, is_read_closely(user_agent)
    complete = search(lower(text), names, hosts) and complete
    if has(text, "%") or has(text, "\\") or not has(text, " ") then
      local other = decoded(text)
      if other ~= text then complete = search(lower(other), names, hosts) and complete end
    end
    local best
    for _, hit in ipairs(#names > 0 and names or hosts) do
      if not best or outweighs(hit, best) then best = hit end
    end
    local agent = best and best.token.agent
    local hidden = complete and {} or hidden_in(user_agent, agent)
    if not agent and policy.detects_unknown_bots then
      if calls_itself_a_bot(user_agent) then
        agent = unknown_bot
      elseif not is_read_closely(user_agent) and is_restricted(unknown_bot)
        and (has_bot_word(lower(user_agent)) or has_bot_word(lower(wholly_decoded(user_agent)))) then
        hidden[#hidden + 1] = unknown_bot
      end
    end
    if not agent and policy.detects_nameless and is_single_word(user_agent) then agent = nameless end
    agent = agent or unclaimed
    return #hidden > 0 and {agent = agent, hidden = hidden} or agent
  end

  local remembered, count = {}, 0

  -- Return the claim of a User-Agent (several lines joined by line feeds). Remembers short User-Agents.
  function guard.agent_of(user_agent)
    if #user_agent > 1024 then return recognise(user_agent) end
    local agent = remembered[user_agent]
    if agent then return agent end
    agent = recognise(user_agent)
    if count == MAX_REMEMBERED then remembered, count = {}, 0 end
    remembered[user_agent], count = agent, count + 1
    return agent
  end

  -- True if a row of decisions or a section is for a path and what is wished for its work.
  local function holds(row, path, path_sets, wish)
    return (not row.wish or row.wish == wish) and (not row.paths or matches_any(path, path_sets[row.paths]))
  end

  -- Return the number of the section of the site that contains a path; 0 outside of every section.
  function guard.section_of(path, wish)
    for _, section in ipairs(policy.sections) do
      if holds(section, path, policy.path_sets, wish) then return section.number end
    end
    return 0
  end

  -- Return the number of the section of a request target.
  function guard.section_at(target)
    if not policy.works then return guard.section_of(path_of(target)) end
    local paths = readings(target)
    return guard.section_of(paths[1], wish_of(paths))
  end

  -- Return the decision for a class at one path; nil if it is allowed without a note to the backend.
  local function decision_at(class, path, path_sets, wish)
    for _, row in ipairs(policy.classes[class] or {}) do
      if holds(row, path, path_sets, wish) then return policy.decisions[row.decision] end
    end
    return nil
  end

  local function stricter(decision, other)
    return (other and other.strictness or 0) > (decision and decision.strictness or 0) and other or decision
  end

  -- Return the strictest decision for an agent under all readings of a path, in any letter case.
  local function strictest(agent, paths, complete)
    local class = agent.class
    if not policy.classes[class] then return nil end
    local wish = wish_of(paths)
    local decision = decision_at(class, paths[1], policy.path_sets, wish)
    if not policy.has_sections and not (decision and decision.strictness == 0) then return decision end
    for _, path in ipairs(paths) do
      decision = stricter(decision, decision_at(class, path, policy.path_sets, wish))
      decision = stricter(decision, decision_at(class, lower_path(path, policy.folded), policy.lower_path_sets, wish))
    end
    if complete or agent == unclaimed or agent == nameless then return decision end
    return stricter(decision, policy.decisions[policy.unreadable])
  end

  -- Return the decision for a claim and a request target, nil if it is allowed without a note to the backend, and the
  -- agent that is named in refusals and notes.
  function guard.decide(claim, target)
    if not guard.is_restricted(claim) then return nil, claim.agent or claim end
    local paths, complete = readings(target)
    if not claim.hidden then return strictest(claim, paths, complete), claim end
    local decision = strictest(claim.agent, paths, complete)
    for _, agent in ipairs(claim.hidden) do
      local hidden = strictest(agent, paths, complete)
      if hidden and hidden.restricts then return stricter(decision, policy.decisions[policy.unreadable]), unclaimed end
    end
    return decision, claim.agent
  end

  -- True if decide() returns a decision for some target.
  function guard.is_restricted(claim) return claim.hidden ~= nil or is_restricted(claim) end

  -- Return the claim of a client of whom it is only known that it says nothing that can be read: anybody may be hidden.
  function guard.unread_claim()
    local hidden, classes = {}, {}
    for _, agent in ipairs(agents) do
      if agent ~= unclaimed and agent ~= nameless and is_restricted(agent) and not classes[agent.class] then
        classes[agent.class] = true
        hidden[#hidden + 1] = agent
      end
    end
    return #hidden > 0 and {agent = unclaimed, hidden = hidden} or unclaimed
  end

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

  -- Return the document at exactly this target and its status: 304 if If-None-Match has its ETag. Nil if there is none.
  function guard.document(method, target, if_none_match)
    local document = policy.documents[without_query(target)]
    if not document or method ~= "GET" and method ~= "HEAD" then return nil end
    local unchanged = if_none_match and (has(if_none_match, document.etag) or match(if_none_match, "^%s*%*%s*$"))
    return document, unchanged and 304 or 200
  end

  return guard
end
