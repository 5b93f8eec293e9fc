-- Connects Envoy's Lua filter to the judge (guard).

local function respond(handle, status, headers, body)
  local fields = {[":status"] = tostring(status)}
  for _, field in ipairs(headers) do fields[field[1]] = field[2] end
  handle:respond(fields, body)
end

local function client_address(handle) return without_port(handle:streamInfo():downstreamRemoteAddress()) end

function envoy_on_request(handle)
  local headers = handle:headers()
  local lost = lost_user_agent(handle, headers)
  headers:remove("x-noai-header-bytes")
  local target = headers:get(":path") or "/"
  if guard.has_sections then
    handle:streamInfo():dynamicMetadata():set("noai_guard", "section", guard.section_at(target))
  end
  local document, status = guard.document(headers:get(":method"), target, headers:get("if-none-match"))
  if document then
    respond(handle, status, document.headers, status == 200 and document.body or "")
    return
  end
  local spoofed = {}
  for name in pairs(headers) do
    if string.find(name, "^x[^a-z0-9]noai[^a-z0-9]verdict$") then spoofed[#spoofed + 1] = name end
  end
  for _, name in ipairs(spoofed) do headers:remove(name) end
  local decision, agent = guard.decide(lost and guard.unread_claim() or guard.agent_of(headers:get("user-agent") or ""), target)
  local exempt = decision and guard.has_networks and guard.is_exempt(client_address(handle))
  headers:add("x-noai-verdict", guard.verdict(decision, agent, exempt))
  if not decision or not decision.refusal or exempt then return end
  local refusal = guard.refusals[decision.refusal]
  respond(handle, refusal.status, refusal.headers, guard.refusal_text(decision, agent))
end

local function has_line(headers, name, value)
  for index = 0, headers:getNumValues(name) - 1 do
    if headers:getAtIndex(name, index) == value then return true end
  end
  return false
end

-- Runs for every response, also for those that Envoy generates itself (refusals, documents, errors).
function envoy_on_response(handle)
  local headers = handle:headers()
  local metadata = guard.has_sections and handle:streamInfo():dynamicMetadata():get("noai_guard")
  local reserved = headers:get("tdm-reservation")
  for _, field in ipairs(guard.declared(metadata and metadata.section or 0)) do
    local name, value = field[1], field[2]
    if name == "x-robots-tag" or name == "link" then
      if not has_line(headers, name, value) then headers:add(name, value) end
    elseif not headers:get(name) and not (name == "tdm-policy" and reserved) then
      headers:add(name, value)
    end
  end
end
