"""Content-Usage, read as draft-ietf-aipref-attach-05 defines: in a crawler's group of robots.txt the longest path counts."""

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Agent, PathPolicy, Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations.content_usage import LABELS
from tests.declarations.declaration_readers import robots_match
from tests.declarations.generated_policies import ANY_PATTERNS, PATHS, SUPPORTED_PATTERNS, policies

STANCE = load_stance("no-ai")
OPEN = dict.fromkeys(Usage, Action.ALLOW)
CATALOG = Catalog((Agent("TrainBot", "Example", (Usage.TRAIN_AI,), ("TrainBot",), "TrainBot"),))


def parsed(value: bytes) -> dict[str, str]:
    """The labels of a field value; without parameters, as AIPREF has none."""
    labels: Any = http_sf.parse(value, tltype="dictionary")
    assert all(item[1] == {} for item in labels.values())
    return {label: str(item[0]) for label, item in labels.items()}


def preferences(robots: str, name: str) -> list[tuple[str, dict[str, str]]]:
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
    lines = groups.get(name.lower(), groups.get("*", []))
    matches = (re.fullmatch(r"content-usage:[ \t]*(?:(/\S*)[ \t]+)?(.*)", line, re.IGNORECASE) for line in lines)
    return [(match[1] or "", parsed(match[2].encode())) for match in matches if match]


def read(robots: str, name: str, path: str) -> dict[str, str]:
    """The labels for a path: those of the longest match; of several equally long, the most restrictive."""
    matching = [
        (pattern, labels) for pattern, labels in preferences(robots, name) if not pattern or robots_match(pattern, path)
    ]
    longest = max(len(pattern) for pattern, _ in matching)
    result: dict[str, str] = {}
    for pattern, labels in matching:
        if len(pattern) == longest:
            result.update({label: value for label, value in labels.items() if value == "n" or label not in result})
    return result


TABLE = "User-agent: *\nAllow: /\nContent-Usage: train-ai=n\nContent-Usage: /ai-ok/ train-ai=y\nContent-Usage: /*.mp3 train-ai=n\n"


@pytest.mark.parametrize(
    ("path", "expected"), [("/", "n"), ("/ai-ok/a", "y"), ("/ai-ok/a.mp3", "y"), ("/a.mp3?x", "n")]
)
def test_the_reader_takes_the_longest_path(path: str, expected: str) -> None:
    assert read(TABLE, "AnyBot", path) == {"train-ai": expected}


@pytest.mark.parametrize(
    ("stance", "expected"),
    [
        ("no-ai", {"train-ai": "n", "ai-use": "n", "search": "y"}),
        ("no-training", {"train-ai": "n", "ai-use": "y", "search": "y"}),
        ("search-only", {"train-ai": "n", "ai-use": "n", "search": "y"}),
    ],
)
def test_the_header_is_the_dictionary_that_aipref_defines(stance: str, expected: dict[str, str]) -> None:
    fields = CompiledPolicy(load_stance(stance), CATALOG).site_declared.fields
    (value,) = [value for name, value in fields if name == b"content-usage"]
    assert parsed(value) == expected


def policy_labels(compiled: CompiledPolicy, path: str) -> dict[str, str]:
    table = compiled.guard.table
    path_policy = table.path_class(path).path_policy
    return {label: "n" if any(map(path_policy.reserves, usages)) else "y" for label, usages in LABELS}


@settings(max_examples=200, deadline=None)
@given(
    policies(STANCE, SUPPORTED_PATTERNS),
    PATHS,
    st.sampled_from(["TrainBot", "AnyBot"]),
    st.sampled_from(["", "?q=/a.mp3"]),
)
def test_every_crawler_reads_in_robots_txt_what_the_policy_says(
    policy: Policy, path: str, name: str, query: str
) -> None:
    compiled = CompiledPolicy(policy, CATALOG)
    robots = compiled.documents["/robots.txt"].body.decode()
    assert read(robots, name, quote(path, safe="/&") + query) == policy_labels(compiled, path)


@settings(max_examples=300, deadline=None)
@given(policies(STANCE, ANY_PATTERNS), PATHS)
def test_robots_txt_never_grants_a_reserved_usage(policy: Policy, path: str) -> None:
    compiled = CompiledPolicy(policy, CATALOG)
    declared = read(compiled.documents["/robots.txt"].body.decode(), "AnyBot", quote(path, safe="/&"))
    for label, value in policy_labels(compiled, path).items():
        assert value == "y" or declared[label] == "n"


@pytest.mark.parametrize(
    ("section", "search"),
    [
        ("/private/**", "y"),
        # Its line is shorter than that of the recordings, which has to say what it says.
        ("/p/**", "n"),
        # Robots.txt cannot say where this holds.
        ("/*/private/*", "n"),
        ("/audio/private/*", "n"),
    ],
)
def test_a_pattern_that_robots_txt_cannot_express_says_no_only_where_its_line_counts(section: str, search: str) -> None:
    recordings = PathPolicy("/**/*.flac", {**STANCE.usages, Usage.TRAIN_AI: Action.DENY})
    closed = PathPolicy(section, {**OPEN, Usage.SEARCH: Action.DENY})
    policy = replace(STANCE, usages=OPEN, path_policies=(recordings, closed))
    robots = CompiledPolicy(policy, CATALOG).documents["/robots.txt"].body.decode()
    assert read(robots, "TrainBot", "/song.flac") == {"train-ai": "n", "ai-use": "n", "search": search}
    assert read(robots, "TrainBot", "/private/song.flac")["search"] == ("n" if section == "/private/**" else search)


def test_the_header_agrees_with_robots_txt_for_every_path() -> None:
    policy = replace(STANCE, path_policies=(PathPolicy("/press/**", OPEN), PathPolicy("/press/*/x", STANCE.usages)))
    compiled = CompiledPolicy(policy, CATALOG)
    for path in ("/", "/press/a", "/press/a/x"):
        fields = dict(compiled.declared[compiled.guard.table.path_class(path).path_policy].fields)
        in_robots_txt = read(compiled.documents["/robots.txt"].body.decode(), "AnyBot", path)
        if b"content-usage" in fields:
            assert parsed(fields[b"content-usage"]) == in_robots_txt
        else:
            assert set(in_robots_txt.values()) == {"y"}


@pytest.mark.parametrize(
    "module", ["noai_guard", "noai_guard.middleware.wsgi", "noai_guard.gateway.app", "noai_guard.cli"]
)
def test_http_sf_is_not_imported_before_a_field_is_written(module: str) -> None:
    code = f"import sys, {module}; print('http_sf' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
