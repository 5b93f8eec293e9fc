-- Connects HAProxy to the judge (guard).

-- Return the User-Agent of a request; of several lines all, joined by line feeds.
local function user_agent_of(txn)
  if txn.f:req_fhdr_cnt("user-agent") <= 1 then return txn.f:req_fhdr("user-agent") or "" end
  local lines = txn.http:req_get_headers()["user-agent"]
  local text, index = lines[0], 1
  while lines[index] do
    text, index = text .. "\n" .. lines[index], index + 1
  end
  return text
end

-- A judge leaves much behind with each request, of a size that is small beside what stays: let collections be rare.
collectgarbage("setpause", 400)

-- Set the verdict; of a refusal also its number and its text, without the last line feed: HAProxy escapes control
-- characters.
core.register_action("noai_judge", {"http-req"}, function(txn)
  local claim = guard.agent_of(user_agent_of(txn))
  if not guard.is_restricted(claim) then return end
  -- `OPTIONS *` has no path.
  local decision, agent = guard.decide(claim, txn.f:path() or "*")
  if not decision then return end
  local exempt = guard.has_networks and guard.is_exempt(txn.f:src())
  local verdict = guard.verdict(decision, agent, exempt)
  txn:set_var("txn.noai_verdict", verdict)
  if exempt or not decision.refusal then
    txn.http:req_set_header("X-NoAI-Verdict", verdict)
    return
  end
  txn:set_var("txn.noai_refusal", tostring(decision.refusal))
  txn:set_var("txn.noai_text", (string.gsub(guard.refusal_text(decision, agent), "%s+$", "")))
end, 0)

core.register_converters("noai_section", function(path) return tostring(guard.section_at(path)) end)

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
