"""The judge in Lua decides what the judge in Python decides, on every Lua that servers have."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote as percent_encoded
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import noai_guard
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import NAMELESS, Action, Agent, Mode, PartlyRead, PathPolicy, Usage, agent_of
from noai_guard.core.networks import NetworkSet
from noai_guard.core.paths import normal_path, readings
from noai_guard.core.policy import UNREADABLE, Exemptions, Policy, Rule
from noai_guard.targets.lua import guard_source, quote
from noai_guard.targets.plan import TargetPlan
from tests.servers import require
from tests.targets.conformance import corpus, judged_target, refusal
from tests.targets.strategies import FORM, GLOB, NAMES, ODD_TARGETS, TARGETS, user_agents

LUAS = ("lua51", "luajit21", "lua53", "lua54")
"""Envoy has LuaJIT, HAProxy 5.3 and 5.4, lighttpd 5.1 to 5.4."""

CATALOG = load_catalog()
NO_AI = load_stance("no-ai")


COUNT_OPERATIONS = """
local operations = 0
debug.sethook(function() operations = operations + 1 end, "", 1)
for _, name in ipairs({"find", "gmatch", "gsub", "lower", "match"}) do
  local original = string[name]
  string[name] = function(text, ...)
    operations = operations + #text
    return original(text, ...)
  end
end
function operation_count() return operations end
"""
"""Counts instructions of the virtual machine, and the bytes that the functions of `string` get."""


def runtime(name: str) -> Any:
    require("lupa")
    return import_module(f"lupa.{name}").LuaRuntime(encoding=None, unpack_returned_tuples=True)


def run(name: str, source: str) -> Any:
    return runtime(name).execute(source.encode())


class Guard:
    """The judge in one version of Lua."""

    def __init__(self, name: str, compiled: CompiledPolicy, *, count_operations: bool = False) -> None:
        source = (COUNT_OPERATIONS if count_operations else "") + guard_source(TargetPlan(compiled))
        self.table, self.readings, self.operation_count = run(name, f"{source}return guard, readings, operation_count")

    def call(self, name: str, *arguments: object) -> Any:
        return self.table[name.encode()](*arguments)

    def agent_name(self, user_agent: bytes) -> str:
        """Return the name of the agent, in brackets if a restricted one is hidden in what is not read closely."""
        claim = self.call("agent_of", user_agent)
        name = (claim[b"agent"] or claim)[b"name"].decode()
        return f"({name})" if claim[b"hidden"] else name

    def respond(self, user_agent: bytes, target: bytes) -> tuple[int, str, str]:
        """Return status and text of the refusal (0 and "" if there is none), and the value of X-NoAI-Verdict."""
        decision, agent = self.call("decide", self.call("agent_of", user_agent), target)
        verdict = self.call("verdict", decision, agent, False).decode()
        if not decision or not decision[b"refusal"]:
            return 0, "", verdict
        status = self.table[b"refusals"][decision[b"refusal"]][b"status"]
        return status, self.call("refusal_text", decision, agent).decode(), verdict

    def operations(self, user_agents: list[bytes]) -> int:
        """Return the number of operations that the recognition of these User-Agents takes."""
        before = self.operation_count()
        for user_agent in user_agents:
            self.call("agent_of", user_agent)
        return self.operation_count() - before


@cache
def guards_policy() -> CompiledPolicy:
    refused = dict.fromkeys((Usage.UNKNOWN_BOT, Usage.NAMELESS), Action.DENY)
    return CompiledPolicy(replace(NO_AI, usages={**NO_AI.usages, **refused}), CATALOG)


@cache
def guards() -> Mapping[str, Guard]:
    return {name: Guard(name, guards_policy()) for name in LUAS}


def ascii_name(agent: Agent | None) -> str:
    return "" if agent is None else agent.name.encode("ascii", "replace").decode()


def recognised(user_agent: bytes, compiled: CompiledPolicy) -> str:
    """Return what `Guard.agent_name` must return."""
    guard = compiled.guard
    claim = guard.claims[user_agent]
    if not isinstance(claim, PartlyRead):
        return ascii_name(agent_of(claim))
    name = ascii_name(claim.agent)
    return name if claim.hidden.isdisjoint(restricted_agents(compiled)) else f"({name})"


@cache
def restricted_agents(compiled: CompiledPolicy) -> frozenset[Agent]:
    plan = TargetPlan(compiled)
    return frozenset(agent for agents in plan.all_classes if agents.restricted for agent in agents.agents)


LUA_FILES = sorted(Path(noai_guard.__file__).parent.rglob("*.lua"))


@pytest.mark.parametrize("name", LUAS)
@pytest.mark.parametrize("file", LUA_FILES, ids=lambda file: file.name)
def test_each_lua_file_compiles_by_itself(name: str, file: Path) -> None:
    # A placeholder alone on a line stands for statements; elsewhere it is an identifier.
    runtime(name).compile(re.sub(rb"(?m)^ *__[A-Z_]+__$", b"", file.read_bytes()))


@pytest.mark.parametrize("name", LUAS)
def test_every_sample_is_recognised(name: str) -> None:
    guard = guards()[name]
    samples = corpus() if name == "luajit21" else corpus()[::7]
    assert [sample for sample in samples if guard.agent_name(sample) != recognised(sample, guards_policy())] == []


@settings(deadline=None, max_examples=400)
@given(st.lists(user_agents(NAMES), min_size=8, max_size=8))
def test_lua_and_python_recognise_the_same_agent_in_any_user_agent(texts: list[bytes]) -> None:
    for user_agent in texts:
        names = {name: guard.agent_name(user_agent) for name, guard in guards().items()}
        assert names == dict.fromkeys(LUAS, recognised(user_agent, guards_policy()))


def judged_path(target: str) -> str:
    """Return the path as an ASGI server and `normal_path` produce it."""
    return normal_path(unquote(target.partition("?")[0]))


@st.composite
def compiled_policies(draw: Callable[..., Any]) -> CompiledPolicy:
    """Generate policies in which every part matters, with a small catalogue."""
    usages = [usage for usage in Usage if usage is not Usage.UNKNOWN_BOT]
    forms = draw(st.lists(FORM, min_size=1, max_size=12))
    agents = [
        Agent(
            f"{form} {number}",
            f"operator {number % 3}",
            tuple(sorted(draw(st.sets(st.sampled_from(usages), min_size=1, max_size=2)))),
            (form,),
        )
        for number, form in enumerate(forms)
    ]
    actions = st.sampled_from(list(Action))
    actions_by_usage = st.fixed_dictionaries(dict.fromkeys(Usage, actions))
    names = st.frozensets(st.sampled_from([agent.name.lower() for agent in agents]), max_size=2)
    rules = [
        Rule(f"rule {number}", draw(actions), agents=draw(names), usages=draw(st.frozensets(st.sampled_from(list(Usage)), max_size=2)),
             paths=tuple(draw(st.lists(GLOB, max_size=2))), message=draw(st.text(max_size=9)))
        for number in range(draw(st.integers(0, 3)))
    ]  # fmt: skip
    sections = {glob: PathPolicy(glob, draw(actions_by_usage)) for glob in draw(st.lists(GLOB, max_size=3))}
    policy: Policy = replace(
        NO_AI,
        usages=draw(actions_by_usage),
        mode=draw(st.sampled_from(list(Mode))),
        rules=tuple(rules),
        path_policies=tuple(sections.values()),
        exemptions=Exemptions(tuple(draw(st.lists(GLOB, max_size=1))), draw(names)),
    )
    return CompiledPolicy(policy, Catalog(agents))


def without_purpose(text: str) -> str:
    return re.sub(r"( fetch this| more requests).*?( \(rule| than)", r"\1\2", text)


@settings(deadline=None, max_examples=150)
@given(st.data(), compiled_policies(), st.sampled_from(LUAS))
def test_lua_and_python_decide_alike_under_any_policy(data: st.DataObject, compiled: CompiledPolicy, lua: str) -> None:
    guard, plan = Guard(lua, compiled), TargetPlan(compiled)
    names = [
        form.strip("^/").removesuffix("*") for agent in compiled.catalog.agents for form in agent.expected_user_agent
    ]
    for user_agent in data.draw(
        st.lists(
            user_agents([*names, "http://a.bc/f", "http://x.bc.de/f", "Mozilla/5.0 (Linux) bot"]),
            min_size=6,
            max_size=6,
        )
    ):
        assert guard.agent_name(user_agent) in (recognised(user_agent, compiled), "")
        target = data.draw(st.one_of(TARGETS.map(str.encode), ODD_TARGETS))
        verdict = judged_target(compiled, target, user_agent)
        status, text, header = guard.respond(user_agent, target)
        expected = refusal(compiled, target, user_agent)
        if verdict.rule == UNREADABLE or (verdict.rule.startswith("rule ") and compiled.policy.path_policies):
            # Where a path is not read, no usage is named. Of several usages a rule's refusal names the most restricted one of the whole site, not of the section.
            text, expected = without_purpose(text), (expected[0], without_purpose(expected[1]))
        assert (status, text) == expected, (user_agent, target)
        section = guard.call("section_of", guard.call("path_of", target))
        path_class = compiled.guard.table.path_class(judged_path(target.decode("utf-8", "surrogateescape")))
        assert compiled.policy.all_path_policies[section] == path_class.path_policy
        rule = verdict.rule.encode("ascii", "replace").decode()
        if verdict.action.restricts:
            label = verdict.action if verdict.enforced else f"monitor-{verdict.action}"
            # Where they are treated like everybody else, who has no name is not told from others.
            agent = None if verdict.agent is NAMELESS and not plan.detects_nameless else verdict.agent
            assert header == f"{label}; rule={rule}; agent={ascii_name(agent)}"
        else:
            assert header == "allow" or header.startswith(f"{verdict.action}; rule={rule}; agent=")


BOUNDARIES = {
    "occurrences compared": (range(20, 28), lambda n: b"gptbotx " * n + b"gptbot"),
    "words compared": (range(20, 28), lambda n: b"gptbot " + b"x-ccbot-y " * n),
    "escapes decoded": (range(254, 260), lambda n: b"%41" * n + b"%20GPTBot/1"),
    "end of the head": (range(1000, 1030), lambda n: b"a " * (n // 2) + b" " * (n % 2) + b"GPTBot " + b"b " * 900),
    "start of the tail": (range(500, 520), lambda n: b"a " * 900 + b"GPTBot " + b"b" * n),
    "user of a URL": (range(62, 67), lambda n: b"x http://" + b"u" * n + b"@www.diffbot.com/ y"),
    "start": (range(0, 12), lambda n: b"x " + b" " * n + b"Cursor/1 Cursor/1"),
    "chunk before": (range(505, 517), lambda n: b"x a@" + b"-" * n + b"/GPTBot y"),
    "chunk after": (range(505, 517), lambda n: b"x GPTBot+" + b"-" * n + b"@y z"),
    "host": (range(253, 258), lambda n: b"x http://" + b"a" * (n - 12) + b".diffbot.com/y z"),
    "path of a host": (range(1, 9), lambda n: b"x http://github.com:" + b"1" * n + b"/rom1504/a z"),
}


@pytest.mark.parametrize("limit", BOUNDARIES)
def test_lua_and_python_have_the_same_limits(limit: str) -> None:
    counts, user_agent_of = BOUNDARIES[limit]
    for user_agent in map(user_agent_of, counts):
        names = {name: guard.agent_name(user_agent) for name, guard in guards().items()}
        assert names == dict.fromkeys(LUAS, recognised(user_agent, guards_policy())), user_agent


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize("forms", [("//bc.de", "//x.bc.de"), ("//x.bc.de", "//bc.de"), ("//bc.de/f", "//bc.de")])
def test_of_hosts_of_the_same_rank_the_longer_takes_precedence(lua: str, forms: tuple[str, ...]) -> None:
    catalog = Catalog(Agent(form, "", (Usage.TRAIN_AI,), (form,)) for form in forms)
    compiled = CompiledPolicy(NO_AI, catalog)
    user_agent = b"x http://x.bc.de/f"
    assert Guard(lua, compiled).agent_name(user_agent) == recognised(user_agent, compiled)


@settings(deadline=None, max_examples=300)
@given(TARGETS)
def test_lua_and_python_normalise_any_path_alike(target: str) -> None:
    paths = {name: guard.call("path_of", target.encode()) for name, guard in guards().items()}
    assert paths == dict.fromkeys(LUAS, judged_path(target).encode())


@settings(deadline=None, max_examples=500)
@given(ODD_TARGETS, st.sampled_from(LUAS))
def test_lua_and_python_make_the_same_readings_of_any_target(target: bytes, lua: str) -> None:
    paths, complete = guards()[lua].readings(target)
    expected = readings(target.partition(b"?")[0])
    texts = [path.decode("utf-8", "replace") for path in paths.values()]
    assert (texts, complete) == ([expected.plain, *expected.others], expected.complete)


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize("segment", ["é", "日本/", "a/../b", "/.", "x"])
def test_long_paths_are_cut_at_the_same_character(lua: str, segment: str) -> None:
    for count in (2000, 8191, 8192, 8193, 40_000, 70_000):
        for target in ("/" + segment * count, "/a" + percent_encoded(segment) * count + "/.."):
            assert guards()[lua].call("path_of", target.encode()).decode() == judged_path(target)


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("192.0.2.0/24", "192.0.2.255"), ("192.0.2.0/24", "192.0.3.0"), ("10.0.0.0/9", "10.127.0.1"), ("10.0.0.0/9", "10.128.0.1"),
        ("0.0.0.0/0", "8.8.8.8"), ("0.0.0.0/0", "::1"), ("192.0.2.7/32", "192.0.2.7"), ("192.0.2.7/32", "192.0.2.6"),
        ("2001:db8::/32", "2001:db8:ffff::1"), ("2001:db8::/32", "2001:db9::"), ("::1/128", "::1"), ("::/0", "fe80::1"),
        ("2001:db8:8000::/33", "2001:db8:8001::"), ("2001:db8:8000::/33", "2001:db8:7fff::"), ("::/0", "1:2:3:4:5:6:7:8"),
    ],
)  # fmt: skip
def test_addresses_of_an_exempt_network_are_exempt(lua: str, network: str, address: str) -> None:
    exemptions = Exemptions(addresses=NetworkSet([network]))
    guard = Guard(lua, CompiledPolicy(replace(NO_AI, exemptions=exemptions), Catalog(())))
    assert guard.call("is_exempt", address.encode()) is (ip_address(address) in ip_network(network))
    mapped = f"::ffff:{address}".encode()
    assert ":" in address or guard.call("is_exempt", mapped) == guard.call("is_exempt", address.encode())
    assert (
        guard.call("is_exempt", b"")
        is guard.call("is_exempt", b"unix:/run/s")
        is guard.call("is_exempt", None)
        is False
    )


@settings(deadline=None)
@given(st.one_of(st.text(), st.binary(), st.text(st.sampled_from("\"'\\]=[\n\r\0-z90{}$%"))))
def test_no_text_breaks_out_of_a_lua_string(text: str | bytes) -> None:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    for name in LUAS:
        assert run(name, f"return {quote(text)}") == raw


HOSTILE = (b"GPTBot" * 11_000, b"(" * 65_000, b"a-" * 32_000, b"a.bc/" * 13_000, b"%" * 65_000, b"\\x41" * 16_000, b"://gptbot" * 7000,
           b"http://" * 9000, b"http://a" + b"." * 60_000, b"cubot" * 13_000, b" gptbot@" * 8000, b"%25" * 20_000)  # fmt: skip


@cache
def counting_guard() -> Guard:
    return Guard("lua54", guards_policy(), count_operations=True)


@pytest.mark.parametrize("user_agent", HOSTILE, ids=lambda text: repr(text[:10]))
def test_the_cost_of_a_hostile_user_agent_grows_with_nothing_but_its_length(user_agent: bytes) -> None:
    short, long = (counting_guard().operations([user_agent[:length]]) / length for length in (2_000, 65_000))
    assert long < 1.2 * short


@pytest.mark.parametrize("lua", LUAS)
def test_the_memory_for_user_agents_is_bounded(lua: str) -> None:
    lines = """
    local serial = 0
    return function(count)
      for _ = 1, count do
        serial = serial + 1
        guard.agent_of(string.rep("x", 900) .. serial)
      end
      collectgarbage()
      return collectgarbage("count")
    end"""
    remember = run(lua, guard_source(TargetPlan(CompiledPolicy(NO_AI, Catalog(())))) + lines)
    full = remember(2047)
    assert max(remember(count) for count in (1, 1000, 5000, 9000)) < full + 500  # kilobytes


def test_ten_thousand_tokens_cost_as_much_as_three_hundred() -> None:
    random = Random(5)
    letters = "bcdfghjklmnpqrstvwxz"
    forms = sorted({"".join(random.choices(letters, k=9)) for _ in range(10_100)})[:10_000]
    texts = [f"Mozilla/5.0 (X11; Linux; compatible; {random.choice(forms)}/{n}) Gecko".encode() for n in range(300)]

    def operations(count: int) -> int:
        catalog = Catalog(Agent(form, "", (Usage.TRAIN_AI,), (form,)) for form in forms[:count])
        return Guard("lua54", CompiledPolicy(NO_AI, catalog), count_operations=True).operations(texts)

    assert operations(10_000) < 2 * operations(300)
