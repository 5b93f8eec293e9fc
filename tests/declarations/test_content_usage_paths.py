"""Content-Usage in robots.txt, read as draft-ietf-aipref-attach-05 says: of a crawler's group, the longest path counts."""

import re
from dataclasses import replace
from urllib.parse import quote

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Agent, Usage
from noai_guard.core.policy import PathPolicy
from noai_guard.declarations.content_usage import LABELS
from tests.declarations.declaration_readers import robots_match

STANCE = load_stance("no-ai")
OPEN = dict.fromkeys(Usage, Action.ALLOW)
CATALOG = Catalog((Agent("TrainBot", "Example", (Usage.TRAIN_AI,), ("TrainBot",), "TrainBot"),))


def preferences(robots, name):
    """(path or "", labels) of every Content-Usage line in the group of a crawler."""
    groups: dict[str, list[str]] = {}
    names: list[str] = []
    for line in robots.splitlines():
        key, _, value = line.partition("#")[0].partition(":")
        if key.strip().lower() == "user-agent":
            names = names if names and not groups[names[-1]] else []
            names.append(value.strip().lower())
            groups.setdefault(names[-1], [])
        elif key.strip():
            for each in names:
                groups[each].append(line)
    found = []
    for line in groups.get(name.lower(), groups.get("*", [])):
        if usage := re.fullmatch(r"content-usage:[ \t]*(?:(/\S*)[ \t]+)?(.*)", line, re.IGNORECASE):
            labels = http_sf.parse(usage[2].encode(), tltype="dictionary")
            found.append((usage[1] or "", {label: str(item[0]) for label, item in labels.items()}))
    return found


def read(robots, name, path):
    """What is said of a path: the longest match; of several alike, the most restrictive."""
    matching = [
        (where, labels) for where, labels in preferences(robots, name) if not where or robots_match(where, path)
    ]
    longest = max(len(where) for where, _ in matching)
    said: dict[str, str] = {}
    for where, labels in matching:
        if len(where) == longest:
            said.update({label: value for label, value in labels.items() if value == "n" or label not in said})
    return said


TABLE = "User-agent: *\nAllow: /\nContent-Usage: train-ai=n\nContent-Usage: /ai-ok/ train-ai=y\nContent-Usage: /*.mp3 train-ai=n\n"


@pytest.mark.parametrize(
    ("path", "expected"), [("/", "n"), ("/ai-ok/a", "y"), ("/ai-ok/a.mp3", "y"), ("/a.mp3?x", "n")]
)
def test_the_reader_takes_the_longest_path(path, expected):
    assert read(TABLE, "AnyBot", path) == {"train-ai": expected}


segments = st.sampled_from(["tracks", "press", "a b", "café", "x"])
directories = st.lists(segments, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
expressible = st.one_of(directories.map(lambda d: f"{d}/**"), directories.filter(bool))
any_pattern = st.one_of(expressible, directories.map(lambda d: f"{d}/*"), directories.map(lambda d: f"{d}/**/x"),
                        st.sampled_from(["/tr*", "/a?b/**", "/*/x", "/**/*.mp3", "/$a"]))  # fmt: skip
wishes = st.fixed_dictionaries({usage: st.sampled_from([Action.ALLOW, Action.DENY]) for usage in Usage})
paths = directories.flatmap(lambda d: st.sampled_from([d or "/", f"{d}/", f"{d}/q.mp3", f"{d}/q/x", f"{d}/x"]))


def policies(patterns):
    sections = st.lists(st.builds(PathPolicy, patterns, wishes), max_size=4, unique_by=lambda section: section.pattern)
    return st.builds(lambda usages, found: replace(STANCE, usages=usages, path_policies=tuple(found)), wishes, sections)


def wished(compiled, path):
    section = compiled.guard.table.path_policies[compiled.guard.table.path_class(path).path_policy]
    return {label: "n" if any(map(section.reserves, usages)) else "y" for label, usages in LABELS}


@settings(max_examples=200, deadline=None)
@given(policies(expressible), paths, st.sampled_from(["TrainBot", "AnyBot"]), st.sampled_from(["", "?q=/a.mp3"]))
def test_every_crawler_reads_what_the_policy_says(policy, path, name, query):
    compiled = CompiledPolicy(policy, CATALOG)
    robots = compiled.documents["/robots.txt"].body.decode()
    assert read(robots, name, quote(path) + query) == wished(compiled, path)


@settings(max_examples=300, deadline=None)
@given(policies(any_pattern), paths)
def test_what_is_reserved_is_never_given_away(policy, path):
    compiled = CompiledPolicy(policy, CATALOG)
    said = read(compiled.documents["/robots.txt"].body.decode(), "AnyBot", quote(path))
    for label, value in wished(compiled, path).items():
        assert value == "y" or said[label] == "n"


def test_the_header_says_the_same_for_every_path():
    policy = replace(STANCE, path_policies=(PathPolicy("/press/**", OPEN), PathPolicy("/press/*/x", STANCE.usages)))
    compiled = CompiledPolicy(policy, CATALOG)
    for path in ("/", "/press/a", "/press/a/x"):
        fields = dict(compiled.declared[compiled.guard.table.path_class(path).path_policy].fields)
        said = read(compiled.documents["/robots.txt"].body.decode(), "AnyBot", path)
        if b"content-usage" in fields:
            labels = http_sf.parse(fields[b"content-usage"], tltype="dictionary")
            assert {label: str(item[0]) for label, item in labels.items()} == said
        else:
            assert set(said.values()) == {"y"}
