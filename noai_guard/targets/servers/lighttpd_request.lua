-- Runs for suspects and for documents. The judge is loaded once, and again after a restart.
local guard = package.loaded["noai-guard"]
if not guard then
  guard = dofile(__GUARD_FILE__)
  package.loaded["noai-guard"] = guard
end

local r = lighty.r
local target = r.req_attr["request.orig-uri"]
local document, status = guard.document(r.req_attr["request.method"], target, r.req_header["If-None-Match"])
if document then
  for _, field in ipairs(document.headers) do r.resp_header[field[1]] = field[2] end
  if status == 200 then r.resp_body.set({document.body}) end
  return status
end
local spoofed = {}
for name in pairs(r.req_header) do
  if string.find(string.lower(name), "^x[^a-z0-9]noai[^a-z0-9]verdict$") then spoofed[#spoofed + 1] = name end
end
for _, name in ipairs(spoofed) do r.req_header[name] = nil end
local decision, agent = guard.decide(guard.agent_of(r.req_header["User-Agent"] or ""), target)
local exempt = decision and guard.is_exempt(r.req_attr["request.remote-addr"])
r.req_header["X-NoAI-Verdict"] = guard.verdict(decision, agent, exempt)
if not decision or not decision.refusal or exempt then return 0 end
local refusal = guard.refusals[decision.refusal]
for _, field in ipairs(refusal.headers) do r.resp_header[field[1]] = field[2] end
r.resp_body.set({guard.refusal_text(decision, agent)})
return refusal.status
