"""Envoy, whose Lua filter runs the judge (`noai_guard.targets.lua`)."""

from collections.abc import Iterator, Sequence

from noai_guard.errors import CannotExpress
from noai_guard.targets.lua import guard_source
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import File, ServerTarget, head

_ADAPTER = r"""
local function answer(handle, status, headers, body)
  local fields = {[":status"] = tostring(status)}
  for _, field in ipairs(headers) do fields[field[1]] = field[2] end
  handle:respond(fields, body)
end

-- "192.0.2.1:80" or "[2001:db8::1]:80"
local function client_address(handle)
  local address = handle:streamInfo():downstreamRemoteAddress()
  return string.match(address, "^%[(.*)%]:%d+$") or string.match(address, "^(.*):%d+$")
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path = guard.path_of(headers:get(":path") or "/")
  if guard.has_sections then
    handle:streamInfo():dynamicMetadata():set("noai_guard", "section", guard.section(path))
  end
  local document, status = guard.document(headers:get(":method"), path, headers:get("if-none-match"))
  if document then
    answer(handle, status, document.headers, status == 200 and document.body or "")
    return
  end
  local spoofed = {}
  for name in pairs(headers) do
    if string.find(name, "^x[^a-z0-9]noai[^a-z0-9]verdict$") then spoofed[#spoofed + 1] = name end
  end
  for _, name in ipairs(spoofed) do headers:remove(name) end
  local agent = guard.agent(headers:get("user-agent") or "")
  local decision = guard.decision(agent, path)
  local exempt = decision and guard.has_addresses and guard.is_exempt(client_address(handle))
  headers:add("x-noai-verdict", guard.verdict(decision, agent, exempt))
  if not decision or not decision.answer or exempt then return end
  local refusal = guard.answers[decision.answer]
  answer(handle, refusal.status, refusal.headers, guard.text(decision, agent))
end

local function has_line(headers, name, value)
  for place = 0, headers:getNumValues(name) - 1 do
    if headers:getAtIndex(name, place) == value then return true end
  end
  return false
end

-- Also of what Envoy answers itself, refusals and documents too.
function envoy_on_response(handle)
  local headers = handle:headers()
  local known = guard.has_sections and handle:streamInfo():dynamicMetadata():get("noai_guard")
  local reserved = headers:get("tdm-reservation")
  for _, field in ipairs(guard.declared(known and known.section or 0)) do
    local name, value = field[1], field[2]
    if name == "x-robots-tag" or name == "link" then
      if not has_line(headers, name, value) then headers:add(name, value) end
    elseif not headers:get(name) and not (name == "tdm-policy" and reserved) then
      headers:add(name, value)
    end
  end
end
"""

_ESCAPES = {'"': '\\"', "\\": "\\\\"}


def quote(text: str) -> str:
    """A text as a YAML string that means itself."""
    return '"' + "".join(map(_in_string, text)) + '"'


def _in_string(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    if "\ud800" <= character <= "\udfff":
        raise CannotExpress("Envoy: half of a surrogate pair cannot stand in a configuration")
    return f"\\U{ord(character):08x}"


def _filter(plan: TargetPlan, folder: str) -> Iterator[str]:
    yield f"# {head(plan, 'envoy')}"
    yield "# The first of http_filters of each HttpConnectionManager that noai-guard protects."
    yield "- name: noai_guard"
    yield "  typed_config:"
    yield '    "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua'
    yield f"    default_source_code: {{filename: {quote(f'{folder}/guard.lua')}}}"


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    folder = f"{root.rstrip('/')}/noai-guard"
    facts = {"has_sections": bool(plan.path_policies), "has_addresses": bool(plan.exempt_networks)}
    own = "".join(f"guard.{name} = {'true' if found else 'false'}\n" for name, found in facts.items())
    texts = {
        "noai-guard/filter.yaml": "".join(f"{line}\n" for line in _filter(plan, folder)),
        "noai-guard/guard.lua": f"-- {head(plan, 'envoy')}\n{guard_source(plan)}{own}{_ADAPTER}",
    }
    return [File(path, text.encode("utf-8")) for path, text in texts.items()]


TARGET = ServerTarget("envoy", "Envoy", _render)
