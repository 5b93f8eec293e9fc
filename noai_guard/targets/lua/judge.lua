-- The judge: new_guard(policy), with the table that noai_guard/targets/lua/__init__.py generates.
-- Uses user_agents.lua, paths.lua, works.lua and addresses.lua, which stand before it in the same chunk.

local MAX_POSITIONS = 24
local MAX_REMEMBERED = 2048

-- Agents and tokens stay text until they are needed: each collection of garbage visits every table that there is, and
-- would visit 6,000 of them.

local function parse_agent(line, index)
  local rank, class, name, subject = match(line, "^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
  return {index = index, rank = tonumber(rank), class = class, name = name, subject = subject}
end

-- Parse lines of agents' indexes and tokens.
local function parse_tokens(lines)
  local tokens = {}
  for index, form in gmatch(lines, "([^\t\n]*)\t([^\n]*)\n") do
    local token = {index = tonumber(index), path = ""}
    if sub(form, 1, 2) == "//" then
      token.host = true
      token.text, token.path = match(form, "^//([^/]*)(.*)$")
    else
      token.at_start = sub(form, 1, 1) == "^"
      token.family = sub(form, -1) == "*"
      token.text = sub(form, token.at_start and 2 or 1, token.family and -2 or -1)
    end
    tokens[#tokens + 1] = token
  end
  return tokens
end

-- True if a User-Agent is missing or one word, in which nothing is encoded.
local function is_single_word(user_agent)
  local word = match(user_agent, "^%s*(.-)%s*$")
  return #word <= 256 and not find(word, "[^!-$&'*,-[%]^-~]")
end

local function outweighs(hit, other, agent_at)
  local token, other_token = hit.token, other.token
  local rank, other_rank = agent_at(token.index).rank, agent_at(other_token.index).rank
  if rank ~= other_rank then return rank < other_rank end
  if hit.first ~= other.first then return hit.first < other.first end
  if #token.text ~= #other_token.text then return #token.text > #other_token.text end
  return token.index < other_token.index
end

local function new_guard(policy)
  local agents, by_anchor = {}, {}
  for line in gmatch(policy.agents, "([^\n]*)\n") do agents[#agents + 1] = line end
  for anchor, line in gmatch(policy.tokens, "([^\t\n]*)\t([^\n]*\n)") do
    by_anchor[anchor] = (by_anchor[anchor] or "") .. line
  end
  local agent_count = #agents
  local unknown_bot = {index = agent_count + 1, class = "unknown_bot", name = "unknown-bot", subject = "This client"}
  local unclaimed = {index = agent_count + 2, class = "unclaimed", name = "", subject = "This client"}
  local nameless = {index = agent_count + 3, class = "nameless", name = "nameless", subject = "This client"}
  local networks = {}
  for index, text in ipairs(policy.addresses) do networks[index] = network(text) end
  for index, decision in ipairs(policy.decisions) do decision.index = index end
  -- decisions[i].index is i. decision.refusal is an index of refusals, nil if it does not refuse.
  -- A claim is an agent, or {agent = the agent that is named, hidden = agents that are named where nothing is read
  -- closely}.
  local guard = {
    decisions = policy.decisions,
    refusals = policy.refusals,
    has_sections = #policy.sections > 0,
    has_networks = #networks > 0,
    path_of = path_of,
  }
  local wish_of = policy.works and wishes_by_path(policy.works, policy.folded) or function() return nil end

  local function agent_at(index)
    if type(agents[index]) == "string" then agents[index] = parse_agent(agents[index], index) end
    return agents[index]
  end

  -- Return the tokens with this anchor.
  local function tokens_of(anchor)
    if type(by_anchor[anchor]) == "string" then by_anchor[anchor] = parse_tokens(by_anchor[anchor]) end
    return by_anchor[anchor]
  end

  -- Return by text the agents with a token that has this text.
  local function agents_by_text()
    local by_text = {}
    for anchor in pairs(by_anchor) do
      for _, token in ipairs(tokens_of(anchor)) do
        local written = token.text .. token.path
        by_text[written] = by_text[written] or {}
        by_text[written][agent_at(token.index)] = true
      end
    end
    return by_text
  end

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
      for _, token in ipairs(tokens_of(anchor)) do
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

  local search_anywhere

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
    search_anywhere = search_anywhere or searcher(agents_by_text())
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
      if not best or outweighs(hit, best, agent_at) then best = hit end
    end
    local agent = best and agent_at(best.token.index)
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
  -- They are made only where they can matter, if they are not given.
  local function strictest(agent, target, paths, complete)
    local class = agent.class
    if not policy.classes[class] then return nil end
    if not paths and (policy.works or #target > MAX_ODD_PATH) then paths, complete = readings(target) end
    local wish = wish_of(paths)
    local decision = decision_at(class, paths and paths[1] or path_of(target), policy.path_sets, wish)
    if not policy.has_sections and not (decision and decision.strictness == 0) then return decision end
    if not paths then paths, complete = readings(target) end
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
    if not claim.hidden then return strictest(claim, target), claim end
    local paths, complete = readings(target)
    local decision = strictest(claim.agent, target, paths, complete)
    for _, agent in ipairs(claim.hidden) do
      local hidden = strictest(agent, target, paths, complete)
      if hidden and hidden.restricts then return stricter(decision, policy.decisions[policy.unreadable]), unclaimed end
    end
    return decision, claim.agent
  end

  -- True if decide() returns a decision for some target.
  function guard.is_restricted(claim) return claim.hidden ~= nil or is_restricted(claim) end

  -- Return the claim of a client of whom it is only known that it says nothing that can be read: anybody may be hidden.
  function guard.unread_claim()
    local hidden, classes = {}, {}
    for index = 1, agent_count + 1 do
      local agent = index > agent_count and unknown_bot or agent_at(index)
      if is_restricted(agent) and not classes[agent.class] then
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
