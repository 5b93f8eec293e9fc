"""ai.txt and trust.txt: published only where a policy asks for them."""

from dataclasses import replace

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Usage
from noai_guard.core.policy import PathPolicy, Site
from noai_guard.declarations import ai_txt, trust_txt
from tests.declarations.declaration_readers import SITE, ProtegoReader

STANCE = load_stance("no-ai")
OPEN = dict.fromkeys(Usage, Action.ALLOW)
ASKED = replace(STANCE, declarations={**STANCE.declarations, "ai_txt": True, "trust_txt": True})


def document(policy, path):
    found = CompiledPolicy(policy, Catalog(())).documents.get(path)
    return found.body.decode() if found else None


def trust(policy):
    return dict(line.split("=", 1) for line in document(policy, "/trust.txt").splitlines())


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_no_stance_publishes_them(stance):
    for path in ("/ai.txt", "/trust.txt"):
        assert document(load_stance(stance), path) is None


def test_ai_txt_closes_every_path_to_a_parser_of_its_syntax():
    said = document(ASKED, "/ai.txt")
    assert said.startswith("# Spawning AI\nUser-Agent: *\n")
    reader = ProtegoReader(said.encode())
    for path in ("/", "/tracks/1.flac", "/a.mp3?sig=1", "/page"):
        assert not reader.allows("AnyBot", path), SITE + path


def test_ai_txt_of_an_open_site_is_not_published_and_check_says_what_it_cannot_say():
    part = (PathPolicy("/tracks/**", STANCE.usages),)
    assert document(replace(ASKED, usages=OPEN, path_policies=part), "/ai.txt") is None
    for usages, said in ((OPEN, "is not published"), (STANCE.usages, "")):
        notes = list(ai_txt.STANDARD.limitations(replace(ASKED, usages=usages, path_policies=part)))
        assert [said in note for note in notes] == ([True] if said else [])
    (note,) = ai_txt.STANDARD.limitations(replace(ASKED, path_policies=(PathPolicy("/press/**", OPEN),)))
    assert "denies training on the whole site: only the other declarations express that /press/** differs" in note


def test_trust_txt_says_no_where_any_part_of_the_site_does():
    assert trust(ASKED) == {"datatrainingallowed": "no"}
    assert trust(replace(ASKED, usages=OPEN)) == {"datatrainingallowed": "yes"}
    assert (
        trust(replace(ASKED, usages=OPEN, path_policies=(PathPolicy("/a/**", STANCE.usages),)))["datatrainingallowed"]
        == "no"
    )


def test_trust_txt_that_says_it_all_has_no_note():
    for policy in (ASKED, replace(ASKED, usages=OPEN)):
        assert list(trust_txt.STANDARD.limitations(policy)) == []
    (note,) = trust_txt.STANDARD.limitations(replace(ASKED, path_policies=(PathPolicy("/press/**", OPEN),)))
    assert "also for /press/**" in note


@pytest.mark.parametrize("contact", ["mailto:a@band.example", "https://band.example/\ndatatrainingallowed=yes"])
def test_the_contact_stays_on_its_line(contact):
    said = trust(replace(ASKED, site=Site(contact=contact)))
    assert said["datatrainingallowed"] == "no"
    assert said["contact"].startswith(contact[:10])
