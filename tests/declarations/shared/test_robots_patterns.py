"""Path patterns of a policy in the syntax of robots.txt."""

from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given

from noai_guard.config import load_stance
from noai_guard.core.model import Action, PathPolicy
from noai_guard.core.path_patterns import PathMatcher
from noai_guard.core.policy import Exemptions, Policy, Rule
from noai_guard.declarations.shared.robots_patterns import (
    covering,
    may_overlap,
    path_policies,
    unsupported_patterns,
    without_unsupported_patterns,
)
from tests.declarations.declaration_readers import robots_match
from tests.declarations.generated_policies import ANY_PATTERNS, PATHS, policies

STANCE = load_stance("no-ai")


def test_unsupported_patterns_are_listed_with_their_location() -> None:
    policy = replace(
        STANCE,
        path_policies=(PathPolicy("/tracks/*/stems", STANCE.usages), PathPolicy("/press/**", STANCE.usages)),
        rules=(Rule("kits", Action.DENY, paths=("/a?", "/b/**")),),
        exemptions=Exemptions(("/**/*.css",)),
    )
    assert unsupported_patterns(policy) == (
        ("/tracks/*/stems", "paths"), ("/a?", "rule kits"), ("/**/*.css", "exemptions")
    )  # fmt: skip


def test_a_rule_without_supported_paths_is_left_out_and_not_widened() -> None:
    rules = (
        Rule("kits", Action.DENY, paths=("/a?",)),
        Rule("both", Action.DENY, paths=("/a?", "/b/**")),
        Rule("everywhere", Action.DENY),
    )
    kept = without_unsupported_patterns(replace(STANCE, rules=rules)).rules
    assert [(rule.id, rule.paths) for rule in kept] == [("both", ("/b/**",)), ("everywhere", ())]


@given(policies(STANCE, ANY_PATTERNS))
def test_prefixes_come_longest_first(policy: Policy) -> None:
    lengths = [len(prefix) for prefix, _ in path_policies(policy)]
    assert lengths == sorted(lengths, reverse=True)


@given(ANY_PATTERNS, PATHS)
def test_a_covering_prefix_matches_all_that_the_glob_matches(pattern: str, path: str) -> None:
    if PathMatcher([pattern]).first(path) == 0:
        assert robots_match(covering(pattern), quote(path, safe="/&"))


@pytest.mark.parametrize(
    ("pattern", "prefix", "overlap"),
    [
        ("/a/**", "/a$", True),
        ("/a/**", "/a/b/", True),
        ("/a/*/c", "/a/b/", True),
        ("/*/c", "/b/", True),
        ("/a/*", "/b/", False),
        ("/a/b?", "/a/c", False),
        ("/a/**/c", "/a$", True),
        ("/a/**/c", "/audio/", False),
    ],
)
def test_patterns_that_surely_match_no_common_path_do_not_overlap(pattern: str, prefix: str, overlap: bool) -> None:
    assert may_overlap(pattern, prefix) is overlap
