"""Reservation in JSON-LD, read back from a page by a parser of HTML."""

import json
from dataclasses import replace
from typing import Any

import html5lib
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.config import load_stance
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Site
from noai_guard.declarations.json_ld import reservation, script
from tests.declarations.declaration_readers import child, schema

SITE = Site(url="https://band.example", owner="Tape Club", licence="https://band.example/licence",
            contact="https://band.example/ask")  # fmt: skip
STANCE = replace(load_stance("no-ai"), site=SITE)
OPEN = dict.fromkeys(Usage, Action.ALLOW)


def read(element: str) -> Any:
    page = html5lib.parse(f"<!doctype html><head>{element}</head><p>after", namespaceHTMLElements=False)
    (found,) = page.iter("script")
    assert found.get("type") == "application/ld+json"
    assert child(page, "body/p").text == "after"
    return json.loads(found.text or "")


def test_a_recording_links_to_its_licence_and_policy() -> None:
    assert read(script({"@type": "MusicRecording", "name": "One", **reservation(STANCE)})) == {
        "@context": "https://schema.org",
        "@type": "MusicRecording",
        "name": "One",
        "license": "https://band.example/licence",
        "usageInfo": "https://band.example/.well-known/noai",
        "acquireLicensePage": "https://band.example/ask",
        "copyrightNotice": "© Tape Club. Text and data mining and AI training are reserved "
        "(Article 4(3) of Directive (EU) 2019/790).",
    }


@settings(deadline=None)
@given(st.sampled_from(["MusicRecording", "AudioObject"]), st.text(), st.sampled_from(["", "https://bänd.example/ä b"]),
       st.sampled_from(["", "mailto:a@band.example", "https://band.example/ask?a=1"]))  # fmt: skip
def test_every_property_is_valid_against_the_schema(kind: str, owner: str, url: str, contact: str) -> None:
    site = Site(url=url, owner=owner, contact=contact, licence=url)
    data = {"@type": kind, "name": owner, **reservation(replace(STANCE, site=site))}
    schema("json-ld").validate(read(script(data)))


def test_properties_that_the_policy_does_not_have_are_left_out() -> None:
    bare = replace(STANCE, site=Site(), declarations={**STANCE.declarations, "policy_page": False})
    assert set(reservation(bare)) == {"copyrightNotice"}


def test_a_mail_address_is_not_a_page_for_licences() -> None:
    mail = replace(STANCE, site=replace(SITE, contact="mailto:a@band.example"))
    assert reservation(mail)["acquireLicensePage"] == SITE.licence


def test_a_path_policy_has_its_own_reservation() -> None:
    assert reservation(STANCE, PathPolicy("/press/**", OPEN)) == {}
    answers = PathPolicy("/press/**", {**OPEN, Usage.AI_INPUT: Action.DENY})
    assert "copyrightNotice" not in reservation(STANCE, answers)
    assert reservation(STANCE, answers)["license"] == SITE.licence


@settings(deadline=None)
@given(st.one_of(st.text(), st.sampled_from(["</script><script>", "<!--<script>", "]]>", "\u2028"])))
def test_no_text_ends_the_element(text: str) -> None:
    policy = replace(STANCE, site=replace(SITE, owner=text, contact=text))
    data = {"@type": "AudioObject", "name": text, **reservation(policy)}
    assert read(script(data)) == {"@context": "https://schema.org", **data}
