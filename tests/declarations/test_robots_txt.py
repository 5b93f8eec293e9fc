"""robots.txt of a site whose app has none, read by parsers that others wrote."""

import re
from dataclasses import replace
from urllib.parse import quote
from urllib.robotparser import RobotFileParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from robots import RobotsParser

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core import path_patterns
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Agent, Identity, PathPolicy, Usage
from noai_guard.core.policy import Exemptions, Policy, Rule
from noai_guard.declarations import robots_txt
from noai_guard.declarations.shared import robots_patterns
from noai_guard.version import __version__
from tests.declarations.declaration_readers import SITE, ProtegoReader, google_allows, google_fork_allows

STANCES = ("no-ai", "no-training", "search-only")
PATHS = ("/", "/tracks/first/audio.mp3", "/tracks/first/audio.mp3?sig=1", "/press/", "/caf%C3%A9")
DOCUMENTS = ("/robots.txt", "/license.xml", "/.well-known/tdmrep.json", "/.well-known/noai")
NAME = re.compile(r"[A-Za-z_-]+")
CATALOG = load_catalog()


def compiled(policy: Policy, catalog: Catalog = CATALOG) -> CompiledPolicy:
    return CompiledPolicy(policy, catalog)


def robots(policy: Policy, catalog: Catalog = CATALOG) -> bytes:
    return compiled(policy, catalog).documents["/robots.txt"].body


def is_refused(policy: Policy, agent: Agent, path: str, catalog: Catalog = CATALOG) -> bool:
    table = compiled(policy, catalog).guard.table
    return table.verdict(agent, table.path_class(path.partition("?")[0])).action.refuses


def owners(token: str) -> list[Agent]:
    """Agents that a name in robots.txt addresses: those with it as product token, else all that have it."""
    token = token.lower()
    documented = [agent for agent in CATALOG.agents if (agent.rfc9309_product_token or "").lower() == token]
    return documented or [agent for agent in CATALOG.agents if token in map(str.lower, agent.robots_txt_tokens)]


TOKENS = sorted({token for agent in CATALOG.agents for token in agent.all_robots_tokens}, key=str.lower)


@pytest.mark.parametrize("stance", STANCES)
def test_googles_parser_agrees_with_the_policy_for_every_name(stance: str) -> None:
    policy = load_stance(stance)
    text = robots(policy)
    for token in filter(NAME.fullmatch, TOKENS):
        refused = all(is_refused_at_root(policy, agent) for agent in owners(token))
        for path in PATHS[:3]:
            assert google_allows(text, token, path) is not refused, (token, path)


def is_refused_at_root(policy: Policy, agent: Agent) -> bool:
    strictest = max(policy.usages[usage].strictness for usage in agent.usages)
    return strictest >= Action.LICENSE_REQUIRED.strictness


@pytest.mark.parametrize("stance", STANCES)
def test_parsers_that_accept_any_name_agree(stance: str) -> None:
    policy = load_stance(stance)
    text = robots(policy)
    protego = ProtegoReader(text)
    robotspy = RobotsParser.from_string(text.decode())
    standard_library = RobotFileParser()
    standard_library.parse(text.decode().splitlines())
    for token in TOKENS:
        refused = all(is_refused_at_root(policy, agent) for agent in owners(token))
        for path in PATHS:
            assert protego.allows(token, path) is not refused, (token, path)
            assert standard_library.can_fetch(token, SITE + path) is not refused, (token, path)
        if NAME.fullmatch(token):
            assert robotspy.can_fetch(token, SITE + "/tracks/") is not refused, token


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_refused_crawler_may_fetch_the_documents(path: str) -> None:
    text = robots(load_stance("no-ai"))
    standard_library = RobotFileParser()
    standard_library.parse(text.decode().splitlines())
    for name in ("GPTBot", "ClaudeBot", "Google-Extended"):
        assert google_allows(text, name, path)
        assert google_fork_allows(text, name, path)
        assert ProtegoReader(text).allows(name, path)
        assert standard_library.can_fetch(name, SITE + path)


@pytest.mark.parametrize("name", ["Googlebot", "Bingbot", "Applebot", "DuckDuckBot", "AdsBot-Google", "Baiduspider",
                                  "360Spider", "Twitterbot", "SomebodyElse", "AI", "GPT", "Spotify"])  # fmt: skip
def test_other_crawlers_may_fetch_everything(name: str) -> None:
    text = robots(load_stance("no-ai"))
    for path in (*PATHS, *DOCUMENTS):
        assert google_allows(text, name, path) or name == "AI"
        assert ProtegoReader(text).allows(name, path)


@pytest.mark.parametrize("stance", STANCES)
def test_every_group_has_a_rule_and_the_lines_of_all_standards(stance: str) -> None:
    text = robots(load_stance(stance)).decode()
    groups = re.findall(r"(?:User-agent: .*\n)+((?:(?!User-agent).+\n)+)", text)
    assert len(groups) >= 2
    for lines in groups:
        assert re.search(r"^(Allow|Disallow): /", lines, re.MULTILINE)
        assert lines.count("Content-Usage: train-ai=n") == 1


@pytest.mark.parametrize("stance", STANCES)
def test_comments_name_stance_date_and_version(stance: str) -> None:
    dated = CompiledPolicy(load_stance(stance), CATALOG, "2026-11-23")
    for text in (dated.documents["/robots.txt"].body, dated.merged_robots[b"User-agent: *\nDisallow: /a\n"].body):
        comments = [line for line in text.decode().splitlines() if line.startswith("# ")]
        assert f"Stance: {stance}." in " ".join(comments)
        assert [line for line in comments if "2026-11-23" in line] == [
            f"# Generated 2026-11-23 by noai-guard {__version__}."
        ]


def test_files_of_different_days_differ_in_that_line_only() -> None:
    one, other = (
        CompiledPolicy(STANCE, SMALL, day).documents["/robots.txt"].body for day in ("2026-11-23", "2031-01-01")
    )
    assert one != other
    assert robots_txt.undated(one) == robots_txt.undated(other) == robots_txt.undated(robots(STANCE, SMALL))
    assert CompiledPolicy(STANCE, SMALL).documents == CompiledPolicy(STANCE, SMALL).documents


OPERATOR = "Example"
AGENTS = (
    Agent("TrainBot", OPERATOR, (Usage.TRAIN_AI,), ("TrainBot",), "TrainBot"),
    Agent("AnswerBot", OPERATOR, (Usage.AI_SEARCH,), ("AnswerBot",), "AnswerBot"),
    Agent("SearchBot", OPERATOR, (Usage.SEARCH,), ("SearchBot",), "SearchBot"),
    Agent("PreviewBot", OPERATOR, (Usage.PREVIEW,), ("PreviewBot",), "PreviewBot"),
)
SMALL = Catalog(AGENTS)
SEGMENTS = ("tracks", "press", "a", "a b", "café", "kit", "$x")
segments = st.sampled_from(SEGMENTS)
directories = st.lists(segments, min_size=0, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
expressible = st.one_of(
    directories.filter(lambda d: "$" not in d).map(lambda d: f"{d}/**"),
    directories.filter(lambda d: d and "$" not in d),
)
patterns = st.one_of(
    expressible,
    directories.map(lambda d: f"{d}/*"),
    directories.map(lambda d: f"{d}/**/kit"),
    st.sampled_from(["/tracks/*/kit", "/**/*.mp3", "/a?b", "/tr*", "/press**", "/a/*/**", "/**/kit/**", "/$x/**"]),
)
actions = st.sampled_from(list(Action))
usages = st.fixed_dictionaries(dict.fromkeys(Usage, actions))
STANCE = load_stance("no-ai")


@st.composite
def policies(draw: st.DrawFn, paths: st.SearchStrategy[str]) -> Policy:
    path_policies = draw(
        st.lists(st.builds(PathPolicy, paths, usages), max_size=4, unique_by=lambda path_policy: path_policy.pattern)
    )
    rules = draw(st.lists(st.tuples(actions, st.sampled_from([(), ("searchbot",), ("trainbot",)]),
                                    st.lists(paths, max_size=2, unique=True)), max_size=2))  # fmt: skip
    exempt = draw(st.lists(paths, max_size=1))
    return replace(
        STANCE,
        usages=draw(usages),
        path_policies=tuple(path_policies),
        rules=tuple(
            Rule(f"r{number}", action, frozenset(agents), paths=tuple(of))
            for number, (action, agents, of) in enumerate(rules)
        ),
        exemptions=Exemptions(tuple(exempt)),
    )


tried = directories.flatmap(lambda d: st.sampled_from([d or "/", f"{d}/", f"{d}/x", f"{d}/x/kit", f"{d}/y.mp3"]))


def requested(path: str) -> str:
    return quote(path, safe="/$")


@settings(max_examples=100, deadline=None)
@given(policies(expressible), st.lists(tried, min_size=1, max_size=6), st.sampled_from(["", "?", "?q=/a/b"]))
def test_supported_patterns_are_read_as_the_guard_decides(policy: Policy, paths: list[str], query: str) -> None:
    text = robots(policy, SMALL)
    protego = ProtegoReader(text)
    for agent in AGENTS:
        for path in paths:
            refused = is_refused(policy, agent, path, SMALL)
            assert google_allows(text, agent.name, requested(path) + query) is not refused, (text.decode(), path)
            assert protego.allows(agent.name, requested(path) + query) is not refused, (text.decode(), path)


@settings(max_examples=100, deadline=None)
@given(policies(patterns), st.lists(tried, min_size=1, max_size=6))
def test_robots_txt_is_never_stricter_for_an_allowed_crawler_than_the_policy(policy: Policy, paths: list[str]) -> None:
    text = robots(policy, SMALL)
    supported_part = robots_patterns.without_unsupported_patterns(policy)
    for agent in AGENTS:
        if is_refused(supported_part, agent, path_patterns.ELSEWHERE, SMALL):
            continue
        for path in paths:
            if not is_refused(policy, agent, path, SMALL):
                assert google_allows(text, agent.name, requested(path)), (text.decode(), agent.name, path)


FLAC = PathPolicy("/**/*.flac", {**STANCE.usages, Usage.AI_SEARCH: Action.DENY})
CLOSED = {**STANCE.usages, Usage.SEARCH: Action.DENY}
NO_SEARCH = Rule("no-search", Action.DENY, usages=frozenset({Usage.SEARCH}), paths=("/private/**",))


@pytest.mark.parametrize(
    ("policy", "refused"),
    [
        (replace(STANCE, path_policies=(FLAC, PathPolicy("/private/**", CLOSED))), True),
        (replace(STANCE, path_policies=(FLAC, PathPolicy("/private/song.mp3", CLOSED))), True),
        (replace(STANCE, path_policies=(FLAC,), rules=(NO_SEARCH,)), True),
        # Here the pattern that robots.txt cannot express lets in a part of what is refused.
        (replace(STANCE, path_policies=(PathPolicy("/private/*/kit.mp3", STANCE.usages), PathPolicy("/private/**", CLOSED))), False),
        (replace(STANCE, exemptions=Exemptions(paths=("/**/*.flac",)), rules=(NO_SEARCH,)), False),
        (replace(STANCE, rules=(Rule("kits", Action.ALLOW, paths=("/*/kit",)), NO_SEARCH)), False),
    ],
)  # fmt: skip
def test_a_pattern_that_robots_txt_cannot_express_opens_only_what_it_may_let_in(policy: Policy, refused: bool) -> None:
    text = robots(policy)
    (googlebot,) = owners("Googlebot")
    assert is_refused(policy, googlebot, "/private/song.mp3")
    assert google_allows(text, "Googlebot", "/private/song.mp3") is not refused
    assert google_allows(text, "Googlebot", "/press/song.flac")


@pytest.mark.parametrize(("rules", "sentence"), [
    ((Rule("fakes", Action.DENY, identities=frozenset({Identity.UNVERIFIED})),), "rule fakes, which requires an identity"),
    ((Rule("slow", Action.THROTTLE, frozenset({"searchbot"})),), "has no rates"),
])  # fmt: skip
def test_a_rule_that_robots_txt_cannot_express_is_a_limitation(rules: tuple[Rule, ...], sentence: str) -> None:
    assert sentence in "\n".join(compiled(replace(STANCE, rules=rules), SMALL).limitations)
    assert sentence not in "\n".join(compiled(STANCE, SMALL).limitations)
    off = replace(STANCE, rules=rules, declarations={**STANCE.declarations, "robots_txt": "off"})
    assert sentence not in "\n".join(compiled(off, SMALL).limitations)


@pytest.mark.parametrize(
    "owner", ["Ünïted Ärtists ✓ 音楽", "Line\nDisallow: /", "\ud800", "a\u2028User-agent: *", "\0"]
)
def test_any_owner_can_be_named(owner: str) -> None:
    text = robots(replace(STANCE, site=replace(STANCE.site, owner=owner)), SMALL)
    assert google_allows(text, "Googlebot", "/")
    assert not google_allows(text, "TrainBot", "/")
    assert ProtegoReader(text).allows("Googlebot", "/")
