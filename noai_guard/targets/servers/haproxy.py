"""HAProxy 2.4 or newer, built with Lua, as Debian's is.

Most requests never reach Lua: one regular expression says whether a word stands in a user agent by which an agent is
looked for that is not let in everywhere. For the rest the judge in Lua decides (`noai_guard.targets.lua`).
"""

from collections.abc import Iterator, Sequence

from noai_guard.core.guard import CALLS_ITSELF_A_BOT
from noai_guard.core.user_agent_matcher import HEAD_BYTES
from noai_guard.errors import CannotExpress
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import user_agent_regex
from noai_guard.targets.lua import answers, guard_source
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import File, ServerTarget, head

_LONGEST = 15_000
"""Characters of one expression: HAProxy reads lines of a file of patterns up to its buffer of 16,384 bytes."""

_ADAPTER = r"""
-- HAProxy hands over text and takes text back; "" is nothing. An agent is its place in guard.agents, a decision
-- "answer|place of the decision|place of the agent", where answer 0 lets in.
local function key_of(agent) return guard.is_harmless(agent) and "" or tostring(agent.place) end

local function read(decision)
  local place, agent = string.match(decision, "|(%d+)|(%d+)$")
  return guard.decisions[tonumber(place)], guard.agents[tonumber(agent)]
end

core.register_converters("noai_agent", function(user_agent) return key_of(guard.agent(user_agent)) end)

-- As the converter, of all lines of a request.
core.register_action("noai_agent", {"http-req"}, function(txn)
  local lines = txn.http:req_get_headers()["user-agent"]
  local text, place = lines[0], 1
  while lines[place] do
    text, place = text .. "\n" .. lines[place], place + 1
  end
  txn:set_var("txn.noai_agent", key_of(guard.agent(text)))
end, 0)

core.register_converters("noai_decision", function(text)
  local path, place = string.match(text, "^(.*)|(%d+)$")
  local decision = guard.decision(guard.agents[tonumber(place)], guard.path_of(path))
  return decision and string.format("%d|%d|%s", decision.answer or 0, decision.place, place) or ""
end)

core.register_converters("noai_verdict", function(text)
  local decision, agent = read(text)
  return guard.verdict(decision, agent, string.sub(text, 1, 6) == "exempt")
end)

-- Without its last line feed: HAProxy escapes control characters.
core.register_converters("noai_text", function(text) return (string.gsub(guard.text(read(text)), "%s+$", "")) end)

core.register_converters("noai_section", function(path) return tostring(guard.section(guard.path_of(path))) end)

core.register_converters("noai_document", function(path)
  return guard.document("GET", guard.path_of(path)) and "1" or ""
end)

core.register_service("noai_document", "http", function(applet)
  local known = applet.headers["if-none-match"]
  local document, status = guard.document(applet.method, guard.path_of(applet.path), known and known[0])
  applet:set_status(status)
  for _, field in ipairs(document.headers) do applet:add_header(field[1], field[2]) end
  local body = status == 200 and document.body or ""
  if status == 200 then applet:add_header("content-length", tostring(#body)) end
  applet:start_response()
  if applet.method ~= "HEAD" then applet:send(body) end
end)
"""


def quote(text: str) -> str:
    """A text as one argument that means itself: nothing is special between single quotes but their end."""
    if not text.isprintable():
        raise CannotExpress(f"HAProxy: {text!r} holds a character that cannot stand in a configuration")
    return "'" + text.replace("'", "'\\''") + "'"


def quote_format(text: str) -> str:
    """As `quote`, where HAProxy reads a log-format string."""
    return quote(text.replace("%", "%%"))


def suspects(plan: TargetPlan) -> list[str]:
    """Regular expressions (PCRE, in any case) of which one matches every user agent that may get a decision.

    None where everybody may get one.
    """
    if not plan.unclaimed.harmless:
        return []
    found = [rf"[%\x5c]|^[\x00-\xff]{{{HEAD_BYTES + 1}}}"]
    if not plan.unknown_bot.harmless:
        found.append(CALLS_ITSELF_A_BOT.pattern.decode("ascii"))
    anchors = {token.anchor.decode("ascii") for token in plan.tokens if not plan.class_of(token.value).harmless}
    pieces = user_agent_regex.pieces(sorted(anchors), _LONGEST) if anchors else ()
    found.extend(rf"(?<![a-z]){user_agent_regex.trie(words)}(?![a-z])" for words in pieces)
    return ["|".join(found)] if sum(map(len, found)) <= _LONGEST else found


class _Config:
    def __init__(self, plan: TargetPlan, root: str) -> None:
        self.plan = plan
        self.folder = f"{root.rstrip('/')}/noai-guard"
        self.suspects = suspects(plan)

    def frontend(self) -> Iterator[str]:
        yield f"# {head(self.plan, 'haproxy')}"
        yield "# 1. In global:"
        yield f"#        lua-load-per-thread {quote(f'{self.folder}/guard.lua')}"
        yield "# 2. Copy what follows to the beginning of each frontend that noai-guard protects, before its own rules."
        yield "#    It changes only with the policy; `--check` says when. The catalogue is in the other files."
        yield "# For a log-format: %[var(txn.noai_verdict)] is empty where the agent is let in everywhere."
        yield from map("    http-request {}".format, self._requests())
        yield from map("    http-after-response {}".format, self._declared())

    def _requests(self) -> Iterator[str]:
        plan = self.plan
        yield "del-header '^x[^a-z0-9]noai[^a-z0-9]verdict$' -m reg"
        yield "set-header X-NoAI-Verdict allow"
        if plan.path_policies:
            yield "set-var(txn.noai_section) path,lua.noai_section"
        if plan.documents:
            # The last part of a path will do to ask Lua whether it is one.
            ends = sorted({quote("/" + document.path.rsplit("/", 1)[1]) for document in plan.documents})
            yield f"set-var(txn.noai_document) path,lua.noai_document if {{ path,url_dec -m end {' '.join(ends)} }}"
            yield "use-service lua.noai_document if { var(txn.noai_document) -m str 1 } { method GET HEAD }"
        named = "set-var(txn.noai_agent) req.fhdr(user-agent),lua.noai_agent if"
        if self.suspects:
            yield f"{named} {{ req.fhdr(user-agent) -m reg -i -f {quote(f'{self.folder}/suspects.regex')} }}"
        else:
            yield f"{named} {{ req.fhdr(user-agent) -m found }}"
        if not plan.unclaimed.harmless:
            # Without a user agent: one that names nobody.
            yield "set-var(txn.noai_agent) str(-),lua.noai_agent if !{ req.fhdr(user-agent) -m found }"
        yield "lua.noai_agent if { var(txn.noai_agent) -m found } { req.fhdr_cnt(user-agent) gt 1 }"
        decided = "{ var(txn.noai_decision) -m len gt 0 }"
        yield (
            "set-var(txn.noai_decision) path,concat(|,txn.noai_agent),lua.noai_decision "
            "if { var(txn.noai_agent) -m len gt 0 }"
        )
        if plan.exempt_networks:
            networks = " ".join(map(str, plan.exempt_networks))
            exempt = "str(exempt),concat(|,txn.noai_decision)"
            yield f"set-var(txn.noai_decision) {exempt} if {decided} {{ src {networks} }}"
        yield f"set-var(txn.noai_verdict) var(txn.noai_decision),lua.noai_verdict if {decided}"
        yield "set-header X-NoAI-Verdict %[var(txn.noai_verdict)] if { var(txn.noai_verdict) -m found }"
        for place, (status, fields) in enumerate(answers(plan), 1):
            kind = quote(dict(fields)[b"content-type"].decode("ascii"))
            more = [(name.decode("ascii"), value) for name, value in fields if name != b"content-type"]
            own = "".join(f" hdr {name} {_format(value)}" for name, value in more)
            text = r'lf-string "%[var(txn.noai_decision),lua.noai_text]\n"'
            when = f"{{ var(txn.noai_decision) -m beg {place}| }}"
            yield f"return status {status} content-type {kind} {text}{own} if {when}"

    def _declared(self) -> Iterator[str]:
        """Each header line with the sections in which it is declared; what the site says itself stands."""
        declared = list(enumerate(self.plan.compiled.declared))
        lines = dict.fromkeys(field for _, found in declared for field in found.fields)
        for name, value in sorted(lines, key=lambda field: field[0] != b"tdm-policy"):
            title = name.decode("ascii")
            same = f"-m str -- {quote(value.decode('ascii'))}" if name in REPEATABLE else "-m found"
            conditions = [f"!{{ res.fhdr({title}) {same} }}"]
            if name == b"tdm-policy":
                conditions.append("!{ res.fhdr(tdm-reservation) -m found }")
            having = [number for number, found in declared if (name, value) in found.fields]
            if len(having) < len(declared):
                # Section 0 also where HAProxy answers before any rule.
                chosen = [number for number, _ in declared if (number in having) is (0 not in having)]
                sign = "!" if 0 in having else ""
                conditions.append(f"{sign}{{ var(txn.noai_section) -m str {' '.join(map(str, chosen))} }}")
            yield f"add-header {title} {_format(value)} if {' '.join(conditions)}"


def _format(value: bytes) -> str:
    return quote_format(value.decode("ascii"))


def _render(plan: TargetPlan, root: str) -> Sequence[File]:
    config = _Config(plan, root)
    says = f"-- {head(plan, 'haproxy')}\n-- frontend.cfg beside this file says where it is loaded.\n"
    texts = {
        "noai-guard/frontend.cfg": "".join(f"{line}\n" for line in config.frontend()),
        "noai-guard/guard.lua": says + guard_source(plan) + _ADAPTER,
    }
    if config.suspects:
        texts["noai-guard/suspects.regex"] = "".join(f"{line}\n" for line in config.suspects)
    return [File(path, text.encode("utf-8")) for path, text in texts.items()]


TARGET = ServerTarget("haproxy", "HAProxy", _render)
