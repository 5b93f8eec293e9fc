-- Connects HAProxy to the judge (guard). HAProxy passes and takes only text; "" stands for nil. A claim is the index in
-- guard.agents of the agent that is named, and of each that is hidden, "12+3+4"; a decision is "refusal|index of the
-- decision|index of the agent", with refusal 0 if it allows.
local function claim_key(claim)
  if not guard.is_restricted(claim) then return "" end
  local indexes = {(claim.agent or claim).index}
  for _, agent in ipairs(claim.hidden or {}) do indexes[#indexes + 1] = agent.index end
  return table.concat(indexes, "+")
end

local function claim_of(key)
  local agents = {}
  for index in string.gmatch(key, "%d+") do agents[#agents + 1] = guard.agents[tonumber(index)] end
  local agent = table.remove(agents, 1)
  return #agents > 0 and {agent = agent, hidden = agents} or agent
end

local function decision_and_agent(text)
  local decision, agent = string.match(text, "|(%d+)|(%d+)$")
  return guard.decisions[tonumber(decision)], guard.agents[tonumber(agent)]
end

core.register_converters("noai_agent", function(user_agent) return claim_key(guard.agent_of(user_agent)) end)

-- As the converter, of all User-Agent lines of a request.
core.register_action("noai_agent", {"http-req"}, function(txn)
  local lines = txn.http:req_get_headers()["user-agent"]
  local text, index = lines[0], 1
  while lines[index] do
    text, index = text .. "\n" .. lines[index], index + 1
  end
  txn:set_var("txn.noai_agent", claim_key(guard.agent_of(text)))
end, 0)

core.register_converters("noai_decision", function(text)
  local path, key = string.match(text, "^(.*)|([%d+]+)$")
  local decision, agent = guard.decide(claim_of(key), path)
  return decision and string.format("%d|%d|%d", decision.refusal or 0, decision.index, agent.index) or ""
end)

core.register_converters("noai_verdict", function(text)
  local decision, agent = decision_and_agent(text)
  return guard.verdict(decision, agent, string.sub(text, 1, 6) == "exempt")
end)

-- Without the last line feed: HAProxy escapes control characters.
core.register_converters("noai_text", function(text)
  return (string.gsub(guard.refusal_text(decision_and_agent(text)), "%s+$", ""))
end)

core.register_converters("noai_section", function(path) return tostring(guard.section_of(guard.path_of(path))) end)

core.register_converters("noai_document", function(path)
  return guard.document("GET", path) and "1" or ""
end)

core.register_service("noai_document", "http", function(applet)
  local if_none_match = applet.headers["if-none-match"]
  local document, status = guard.document(applet.method, applet.path, if_none_match and if_none_match[0])
  applet:set_status(status)
  for _, field in ipairs(document.headers) do applet:add_header(field[1], field[2]) end
  local body = status == 200 and document.body or ""
  if status == 200 then applet:add_header("content-length", tostring(#body)) end
  applet:start_response()
  if applet.method ~= "HEAD" then applet:send(body) end
end)
