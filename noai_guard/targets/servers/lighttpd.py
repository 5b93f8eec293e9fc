"""lighttpd 1.4.60 or newer with mod_magnet, which runs the judge in Lua inside the server (`targets.lua`)."""

from collections.abc import Iterator, Sequence

from noai_guard.errors import CannotExpress
from noai_guard.targets import lua
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import File, ServerTarget, head

_REQUEST = r"""
local r = lighty.r
local path = guard.path_of(r.req_attr["request.uri"])
if guard.has_sections then r.req_env["NOAI_SECTION"] = tostring(guard.section(path)) end
local document, status = guard.document(r.req_attr["request.method"], path, r.req_header["If-None-Match"])
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
local agent = guard.agent(r.req_header["User-Agent"] or "")
local decision = guard.decision(agent, path)
local exempt = decision and guard.is_exempt(r.req_attr["request.remote-addr"])
r.req_header["X-NoAI-Verdict"] = guard.verdict(decision, agent, exempt)
if not decision or not decision.answer or exempt then return 0 end
local answer = guard.answers[decision.answer]
for _, field in ipairs(answer.headers) do r.resp_header[field[1]] = field[2] end
r.resp_body.set({guard.text(decision, agent)})
return answer.status
"""

_RESPONSE = r"""
local headers = lighty.r.resp_header
local reserved = headers["tdm-reservation"]

-- A field with several lines is one value in which each line but the first begins with the name.
local function has_line(value, line)
  for found in string.gmatch(value, "[^\r\n]+") do
    if found == line or string.sub(found, -#line - 2) == ": " .. line then return true end
  end
  return false
end

for _, field in ipairs(declared[tonumber(lighty.r.req_env["NOAI_SECTION"]) or 0]) do
  local name, value = field[1], field[2]
  local own = headers[name]
  if not own then
    if name ~= "tdm-policy" or not reserved then headers[name] = value end
  elseif (name == "x-robots-tag" or name == "link") and not has_line(own, value) then
    headers[name] = own .. "\r\n" .. name .. ": " .. value
  end
end
return 0
"""


def quote(text: str) -> str:
    """A text as a string of lighttpd.conf that means itself: only a quotation mark is escaped there."""
    if not text.isprintable() or text.endswith("\\"):
        raise CannotExpress(f"lighttpd: {text!r} cannot stand in a configuration")
    return '"' + text.replace('"', '\\"') + '"'


def _config(plan: TargetPlan, folder: str) -> Iterator[str]:
    yield f"# {head(plan, 'lighttpd')}"
    yield "# Include this in lighttpd.conf, outside of any condition:"
    yield f"#     include {quote(f'{folder}/lighttpd.conf')}"
    yield "# If lighttpd says that mod_magnet is loaded more than once, delete the next line here."
    yield 'server.modules += ( "mod_magnet" )'
    yield f"magnet.attract-raw-url-to += ( {quote(f'{folder}/request.lua')} )"
    yield f"magnet.attract-response-start-to += ( {quote(f'{folder}/response.lua')} )"


def _request(plan: TargetPlan, folder: str) -> str:
    """Runs for each request; the judge is read once, and again after a restart."""
    return (
        f"-- {head(plan, 'lighttpd')}\n"
        'local guard = package.loaded["noai-guard"]\n'
        "if not guard then\n"
        f"  guard = dofile({lua.quote(f'{folder}/guard.lua')})\n"
        '  package.loaded["noai-guard"] = guard\n'
        "end\n" + _REQUEST
    )


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    folder = f"{root.rstrip('/')}/noai-guard"
    guard = f"-- {head(plan, 'lighttpd')}\n{lua.guard_source(plan)}"
    path_policies = f"guard.has_sections = {'true' if plan.path_policies else 'false'}\n"
    texts = {
        "noai-guard/lighttpd.conf": "".join(f"{line}\n" for line in _config(plan, folder)),
        "noai-guard/guard.lua": guard + path_policies + "return guard\n",
        "noai-guard/request.lua": _request(plan, folder),
        "noai-guard/response.lua": f"-- {head(plan, 'lighttpd')}\nlocal declared = {lua.declared(plan)}\n{_RESPONSE}",
    }
    return [File(path, text.encode("utf-8")) for path, text in texts.items()]


TARGET = ServerTarget("lighttpd", "lighttpd", _render)
