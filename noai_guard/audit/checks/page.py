"""The page as HTML: metas, JSON-LD and audio. Codes A301 to A311."""

from collections.abc import Iterator
from typing import Any

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation, read_html
from noai_guard.audit.readers import header_values
from noai_guard.audit.readers.html import parsed_json

RULES = read_rules("page")

_DECLARING = frozenset({"robots", "tdm-reservation", "tdm-policy"})
_RECORDINGS = frozenset({"MusicRecording", "AudioObject", "MusicAlbum", "PodcastEpisode", "Audiobook"})
_RIGHTS = ("license", "usageInfo", "acquireLicensePage", "copyrightNotice", "conditionsOfAccess")


def check(interpretation: Interpretation) -> Iterator[Finding]:
    observations, page = interpretation.observations, interpretation.page
    result = observations.page.get
    url = result.url
    if not interpretation.reserves_training_anywhere:
        yield RULES["nothing-declared"].at(url)
    if result.ok and not result.is_html:
        yield RULES["not-html"].at(url, result.content_type_line)
    if observations.audio is None:
        yield RULES["no-audio"].at(url)
    elif observations.audio.get.ok and observations.audio.get.has_html_body:
        yield RULES["no-audio"].at(url, f"{observations.audio.get.requested_url} leads to a page")
    if url.startswith("http:"):
        yield RULES["plain-http"].at(url)
    compressed = observations.page.compressed
    if compressed is not None and compressed.ok and compressed.complete and compressed.is_html:
        names = [name for name, _ in read_html(compressed).metas]
        lost = dict.fromkeys(name for name, _ in page.metas if name in _DECLARING and name not in names)
        if lost:
            encoding = compressed.first("content-encoding") or "identity"
            yield RULES["metas-lost-in-compression"].at(
                url, f"Content-Encoding: {encoding}, without meta {', '.join(lost)}"
            )
    robots_values = {"X-Robots-Tag": result.values("x-robots-tag"), "meta robots": page.contents("robots")}
    for form, values in robots_values.items():
        for value in values:
            if {"noindex", "none"} & {word.strip().lower() for word in value.split(",")}:
                yield RULES["noindex"].at(url, f"{form}: {value}")
    directives = header_values.robots_directives(page.contents("robots"))
    for word in directives.misspelled:
        yield RULES["noai-misspelled"].at(url, f'<meta name="robots" content="... {word} ...">')
    for name, content in page.metas:
        reserves = header_values.robots_directives([content]).reserve_training
        if name.endswith("bot") and reserves and not directives.reserve_training:
            yield RULES["noai-for-one-crawler"].at(url, f'<meta name="{name}" content="{content}">')
    for content in page.contents("tdm-reservation"):
        if header_values.tdm_reservation(content) is None:
            yield RULES["reservation-value"].at(url, f'<meta name="tdm-reservation" content="{content}">')
    for script in page.json_ld:
        if parsed_json(script) is None:
            yield RULES["json-ld-unreadable"].at(url, " ".join(script[:200].split()))
    recordings = [item for item in page.json_ld_objects if _types(item) & _RECORDINGS and not set(_RIGHTS) & set(item)]
    if recordings:
        recording = recordings[-1]
        title = recording.get("name")
        words = [*sorted(_types(recording)), title if isinstance(title, str) else ""]
        yield RULES["json-ld-without-rights"].at(url, " ".join(words))


def _types(item: dict[str, Any]) -> set[str]:
    types = item.get("@type")
    return {name for name in (types if isinstance(types, list) else [types]) if isinstance(name, str)}
