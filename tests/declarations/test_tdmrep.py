"""/.well-known/tdmrep.json, read as the specification says: the first entry that matches counts."""

import json
from dataclasses import replace
from urllib.parse import quote

import pytest
from declaration_readers import tdmrep_reservation
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.catalog import Catalog
from noai_guard.declarations import tdmrep
from noai_guard.front import Front
from noai_guard.loading import load_stance
from noai_guard.model import Action, Usage
from noai_guard.policy import Plan, Section, Site

STANCE = replace(load_stance("no-ai"), site=Site(tdm_policy="https://band.example/tdm.json"))
CLOSED = dict(STANCE.usages)
OPEN = {**CLOSED, Usage.TRAIN_AI: Action.ALLOW}
EMPTY = Catalog(())


def published(policy):
    front = Front(policy, EMPTY)
    document = front.documents.get(tdmrep.PATH)
    return json.loads(document.body) if document else None


@pytest.mark.parametrize(
    ("rules", "path", "expected"),
    [
        ([{"location": "/", "tdm-reservation": 1}], "/x", (1, None)),
        ([{"location": "/", "tdm-reservation": 1}, {"location": "/free/", "tdm-reservation": 0}], "/free/x", (1, None)),
        ([{"location": "/free/", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}], "/free/x", (0, None)),
        ([{"location": "/i/*.jpg", "tdm-reservation": 0}], "/i/a.jpg", (0, None)),
        ([{"location": "/i/*.jpg$", "tdm-reservation": 0}], "/i/a.jpg?x", (None, None)),
        ([{"location": "/A/", "tdm-reservation": 1}], "/a/", (None, None)),
        ({"location": "/", "tdm-reservation": 1}, "/", (None, None)),
        ([{"location": "/", "tdm-reservation": True}], "/", (None, None)),
        ([{"location": "/", "tdm-reservation": 2}], "/", (None, None)),
        ([{"location": "/", "tdm-reservation": 1, "tdm-policy": "p"}], "/", (1, "p")),
        ([{"location": "/", "tdm-reservation": 0, "tdm-policy": "p"}], "/", (0, None)),
    ],
)
def test_the_reader_behaves_as_the_specification_says(rules, path, expected):
    assert tdmrep_reservation(rules, path) == expected


def test_the_default_stance_reserves_everything():
    assert published(load_stance("no-ai")) == [{"location": "/", "tdm-reservation": 1}]


def test_a_site_that_reserves_no_mining_publishes_no_file():
    assert published(replace(STANCE, usages=OPEN)) is None


segments = st.sampled_from(["tracks", "press", "a b", "café", "x"])
directories = st.lists(segments, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
expressible = st.one_of(directories.map(lambda d: f"{d}/**"), directories.filter(bool))
any_pattern = st.one_of(expressible, directories.map(lambda d: f"{d}/*"), directories.map(lambda d: f"{d}/**/x"),
                        st.sampled_from(["/tr*", "/a?b/**", "/*/x", "/**/*.mp3", "/$a"]))  # fmt: skip
wishes = st.sampled_from([CLOSED, OPEN])
paths = directories.flatmap(lambda d: st.sampled_from([d or "/", f"{d}/", f"{d}/q.mp3", f"{d}/q/x"]))


def policies(patterns):
    sections = st.lists(st.builds(Section, patterns, wishes), max_size=5, unique_by=lambda section: section.pattern)
    return st.builds(lambda usages, found: replace(STANCE, usages=usages, sections=tuple(found)), wishes, sections)


def reserved_by(policy, path):
    plan = Plan(policy, EMPTY)
    return int(plan.sections[plan.zone(path).section].reserves(Usage.TRAIN_AI))


@settings(max_examples=300, deadline=None)
@given(policies(expressible), paths)
def test_the_first_entry_that_matches_says_what_the_policy_says(policy, path):
    rules = published(policy)
    if rules is None:
        assert not reserved_by(policy, path)
        return
    reserved, where = tdmrep_reservation(rules, quote(path))
    assert reserved == reserved_by(policy, path)
    assert where == ("https://band.example/tdm.json" if reserved else None)


@settings(max_examples=300, deadline=None)
@given(policies(any_pattern), paths)
def test_what_is_reserved_is_never_given_away(policy, path):
    rules = published(policy)
    if reserved_by(policy, path):
        assert tdmrep_reservation(rules, quote(path))[0] == 1
