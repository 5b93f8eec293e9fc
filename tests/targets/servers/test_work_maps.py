"""Servers that look works up by name carry out the wishes for thousands of them as the guard does."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from random import Random
from unicodedata import normalize
from urllib.parse import quote, unquote

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog
from noai_guard.core.model import Usage
from noai_guard.core.paths import ODD
from noai_guard.core.policy import Creators, Policy
from noai_guard.core.wish_index import WishIndex
from noai_guard.core.wishes import WISHED_USAGES, Choice, WorkWishes
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.work_map import WorkMap
from tests.targets.conformance import BROWSER, GPTBOT, Response, fetch_all, judged_target, policy, refusal
from tests.targets.web_servers import SERVERS, RunningServer, readable_folder, serving, target

KEYS = [key for key in SERVERS if target(key).maps_works]
TEXT = b"""
extends: no-training
usages: {train-ai: STANCE, data-broker: yes, scraper: yes}
site: {url: "https://music.example"}
paths:
  /press/**: {usages: {train-ai: no}}
  /Free/**: {usages: {train-ai: yes, ai-search: yes}}
  /audio/song-7.mp3: {usages: {ai-search: no}}
rules:
  - {id: welcome, agents: [ClaudeBot], action: allow}
  - {id: gone, agents: [Bytespider], paths: [/audio/**], action: deny}
exemptions: {paths: [/health]}
works: ["/audio/{work}.mp3", "/hls/{work}/**", "/press/{work}", "/Free/*/{work}-?.ogg", "/\xc3\xa9t\xc3\xa9/{work}"]
"""
AGENTS = (GPTBOT, b"ClaudeBot/1.0", b"OAI-SearchBot/1.0", b"Bytespider", b"PerplexityBot/1.0", b"Googlebot/2.1",
          b"ChatGPT-User/1.0", b"Diffbot/1.0", BROWSER)  # fmt: skip
STANCES = {"the stricter counts": (b"no", False), "creators decide": (b"yes", True)}


@cache
def wishes() -> tuple[WorkWishes, ...]:
    """Return the wishes for thousands of works, of about twenty kinds; the same in every run."""
    random = Random(11)
    kinds = [{usage: random.choice(tuple(Choice)) for usage in WISHED_USAGES} for _ in range(16)]
    kinds += [dict.fromkeys(WISHED_USAGES, choice) for choice in Choice]
    kinds.append({Usage.TRAIN_AI: Choice.DISALLOW})
    names = [f"song-{number}" for number in range(3000)]
    names += [f"GBAAA00{number:05d}" for number in range(100)]
    names += [f"Take {number} (live) & more" for number in range(50)]
    names += [
        f"{word} {number}"
        for number in range(20)
        for word in ("Été", "夜に駆ける", "ガラス", "straße", "привет", "Ünder")
    ]
    names += [f"the-whole-title-of-a-song-that-does-not-want-to-end-{number}" for number in range(30)]
    names += [
        "default",
        "include",
        "~x",
        'a"b',
        "a$b",
        "a'b",
        "#a",
        "a|b",
        "a{b}",
        "a%b",
        "a=b",
        "a:b",
        "-",
        "a,b",
        "x" * 200,
    ]
    return tuple(WorkWishes(name, random.choice(kinds)) for name in names)


@cache
def wished(stance: str) -> Policy:
    train, decide = STANCES[stance]
    index = WishIndex(wishes())
    return replace(policy(TEXT.replace(b"STANCE", train)), creators=Creators(decide=decide, index=index))


@cache
def judge(stance: str) -> CompiledPolicy:
    return CompiledPolicy(wished(stance), load_catalog())


@cache
def plan(stance: str) -> TargetPlan:
    compiled = judge(stance)
    return TargetPlan(compiled, works=WorkMap(wishes(), compiled.guard.table))


@pytest.fixture(scope="module", params=[(key, stance) for key in KEYS for stance in STANCES], ids=": ".join)
def server(request: pytest.FixtureRequest, origin_port: int) -> Iterator[tuple[RunningServer, str]]:
    key, stance = request.param
    with readable_folder() as folder, serving(key, plan(stance), folder, origin_port) as port:
        yield RunningServer(key, port, plan(stance)), stance


PATTERNS = (
    "/audio/{}.mp3",
    "/hls/{}/1.ts",
    "/hls/{}",
    "/press/{}",
    "/Free/a/{}-1.ogg",
    "/été/{}",
    "/AUDIO/{}.MP3",
    "/other/{}",
)


def paths(random: Random, count: int) -> list[str]:
    """Return targets of listed and other works, in usual spellings."""
    listed = [work.work for work in wishes()]
    found = ["/", "/press/", "/audio/.mp3", "/hls//", "/health", "/audio/song-7.mp3?x=/press/", "/hls/"]
    while len(found) < count:
        name = random.choice(listed) if random.random() < 0.8 else f"other-{random.randrange(99)}"
        name = random.choice((str, str, str, str.lower, str.upper))(name)
        found.append(quote(random.choice(PATTERNS).format(name)))
    return found


HOSTILE = ("/x/../audio/{}.mp3", "//audio/{}.mp3", "/audio/{}.mp3;x", "/audio/%2e/{}.mp3", "/audio%2f{}.mp3", "/audio/{}.mp3%00",
           "/audio\\{}.mp3", "/x/..%2faudio/{}.mp3", "/audio/{}.mp3#x", "/%61udio/{}.mp3", "/audio/x/../{}.mp3", "/hls/{}//1.ts",
           "/hls/{}/../{}/1.ts", "/hls/{}/..%2fother/1.ts", "/hls/other/..%2f{}/1.ts", "/audio/%{}.mp3", "/./press/{}",
           "/press/{}%0a", "/press/{}%09", "/%2561udio/{}.mp3", "/audio/%c0%ae%c0%ae/audio/{}.mp3", "http://music.example/press/{}",
           "/press/{};v=1", "/hls/{};x/1.ts", "/press//{}")  # fmt: skip


def hostile_paths(random: Random, count: int) -> list[str]:
    listed = [work.work for work in wishes()]
    found: list[str] = []
    while len(found) < count:
        name = random.choice(listed)
        spelling = random.choice((normalize("NFC", name), normalize("NFD", name), name.swapcase(), name.title()))
        spelling = random.choice((spelling, spelling, spelling.replace("s", "ſ"), spelling.replace("k", "\u212a")))
        encoded = quote(spelling) if random.random() < 0.7 else "".join(f"%{byte:02X}" for byte in spelling.encode())
        if re.fullmatch("[A-Z]{5}[0-9]{7}", name) and random.random() < 0.5:
            encoded = f"{name[:2]}-{name[2:5]}{name[5:]}"
        pattern = random.choice((*HOSTILE, *map(quote_pattern, PATTERNS)))
        found.append(pattern.format(*[encoded] * pattern.count("{}")))
    return found


def quote_pattern(pattern: str) -> str:
    return quote(pattern, safe="/{}")


def is_refused(response: Response) -> bool:
    return response.status in (402, 403)


NAMES = ("content-usage", "tdm-reservation", "x-robots-tag", "tdm-policy", "content-signal")


def declared(stance: str, path: str) -> dict[str, list[str]]:
    compiled = judge(stance)
    path_class = compiled.guard.table.target_classes[(path.partition("?")[0].encode(),)]
    fields = compiled.declared_on(path_class.path_policy).fields
    return {name: sorted(value.decode() for other, value in fields if other.decode() == name) for name in NAMES}


def test_works_are_refused_and_declared_as_by_the_guard(server: tuple[RunningServer, str]) -> None:
    running, stance = server
    random = Random(3)
    requests = [(path, random.choice(AGENTS)) for path in paths(random, 1500)]
    different: list[object] = []
    for (path, user_agent), response in fetch_all(running.port, requests):
        if not is_exact(path):
            continue
        status, text = refusal(judge(stance), path.encode(), user_agent)
        refused = is_refused(response)
        if (response.status if refused else 0) != status or (refused and response.body.decode() != text):
            different.append((path, user_agent, response.status, status))
        if path != "/health" and {name: sorted(response.values(name)) for name in NAMES} != declared(stance, path):
            different.append((path, response.headers, declared(stance, path)))
    assert not different


def test_what_is_said_of_a_work_is_done(server: tuple[RunningServer, str]) -> None:
    """GPTBot comes for training, and no rule speaks of it."""
    running, _ = server
    different: list[object] = []
    for (path, _), response in fetch_all(running.port, [(path, GPTBOT) for path in paths(Random(7), 400)]):
        said = "train-ai=n" in ",".join(response.values("content-usage"))
        if path != "/health" and said is not is_refused(response):
            different.append((path, response.status, response.values("content-usage")))
    assert not different


def is_exact(path: str) -> bool:
    """Return True for a path that has one reading, and whose work can be looked up in this very spelling."""
    name = unquote(path).rpartition("/")[2]
    return not re.search(ODD, path, re.IGNORECASE) and unquote(path) == unquote(path).lower() and len(name) < 40


def test_no_spelling_of_a_work_is_judged_more_mildly_than_by_the_guard(server: tuple[RunningServer, str]) -> None:
    running, stance = server
    random = Random(5)
    requests = [(path, random.choice(AGENTS)) for path in hostile_paths(random, 3000)]
    milder: list[object] = []
    for (path, user_agent), response in fetch_all(running.port, requests):
        if response.status in (400, 404, 301) and not is_refused(response):
            continue
        if judged_target(judge(stance), path.encode().partition(b"?")[0], user_agent).refuses and not is_refused(
            response
        ):
            milder.append((path, user_agent))
        elif user_agent == BROWSER:
            assert not is_refused(response), path
        ours, theirs = response.values("content-usage"), declared(stance, path)["content-usage"]
        if not set(reserved(theirs)) <= set(reserved(ours)):
            milder.append((path, ours, theirs))
    assert not milder


def reserved(lines: list[str]) -> list[str]:
    return re.findall(r"[a-z-]+=n", ",".join(lines))
