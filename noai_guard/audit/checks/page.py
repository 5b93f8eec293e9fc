"""The page as HTML: metas, JSON-LD and audio. Codes A301 to A310."""

from collections.abc import Iterator
from typing import Any

from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation, is_html_page
from noai_guard.audit.readers import header_values
from noai_guard.audit.readers.html import parsed_json
from noai_guard.audit.rule_group import RuleGroup

_NOTHING = Rule(
    "A301", Severity.WARNING,
    "The site says nothing about AI",
    "No declaration that a program reads says no to training, neither with the page and the audio nor in a file.",
    "Write a policy with noai-guard init; noai-guard build makes the files, the middleware the header lines.",
)  # fmt: skip
_NOT_HTML = Rule(
    "A302", Severity.NOTE,
    "The page is not HTML",
    "There are no metas to read and no audio to find.",
    "Name a page of the site: noai-guard audit https://your.site/",
)  # fmt: skip
_NO_AUDIO = Rule(
    "A303", Severity.NOTE,
    "No audio was found",
    "Neither the page nor its feed leads to audio, so what covers the audio was not looked at.",
    "Name one: noai-guard audit URL --audio https://your.site/song.mp3",
)  # fmt: skip
_FOR_ONE = Rule(
    "A304", Severity.NOTE,
    "A meta says noai to one crawler only",
    "Others do not read a meta with that name.",
    '<meta name="robots" content="noai, noimageai">',
)  # fmt: skip
_MISSPELLED = Rule(
    "A305", Severity.ERROR,
    "meta robots is misspelt",
    "The words are noai and noimageai; any other spelling says nothing.",
    '<meta name="robots" content="noai, noimageai">',
)  # fmt: skip
_RESERVATION = Rule(
    "A306", Severity.ERROR,
    "meta tdm-reservation is neither 1 nor 0",
    "TDMRep: any other value counts as not said.",
    '<meta name="tdm-reservation" content="1">',
)  # fmt: skip
_JSON_LD = Rule(
    "A307", Severity.WARNING,
    "JSON-LD does not parse",
    "Nothing in it is read.",
    "Write it with a JSON library; inside a script element no & stands for a character.",
)  # fmt: skip
_NO_RIGHTS = Rule(
    "A308", Severity.NOTE,
    "JSON-LD describes a recording without its rights",
    "schema.org has usageInfo, license, acquireLicensePage and copyrightNotice for them.",
    'Add "usageInfo" (the page with your AI policy) and "copyrightNotice" (the reservation in words).',
)  # fmt: skip
_PLAIN_HTTP = Rule(
    "A309", Severity.NOTE,
    "The site is served over http",
    "Anyone on the network can remove the declarations, and an RSL licence counts over https only.",
    "Serve the site over https and redirect http to it.",
)  # fmt: skip
_NOINDEX = Rule(
    "A310", Severity.WARNING,
    "The page tells search engines not to list it",
    "noindex removes a page from every search engine. It does not say no to AI.",
    "Remove noindex from X-Robots-Tag and meta robots, unless this is intended.",
)  # fmt: skip

_RECORDINGS = frozenset({"MusicRecording", "AudioObject", "MusicAlbum", "PodcastEpisode", "Audiobook"})
_RIGHTS = ("license", "usageInfo", "acquireLicensePage", "copyrightNotice", "conditionsOfAccess")


def _check(interpretation: Interpretation) -> Iterator[Finding]:
    observations, page = interpretation.observations, interpretation.page
    result = observations.page.get
    url = result.url
    if not interpretation.reserves_training_anywhere:
        yield _NOTHING.at(url)
    if result.ok and not result.is_html:
        yield _NOT_HTML.at(url, f"Content-Type: {result.first('content-type') or 'not sent'}")
    if observations.audio is None:
        yield _NO_AUDIO.at(url)
    elif observations.audio.get.ok and is_html_page(observations.audio.get):
        yield _NO_AUDIO.at(url, f"{observations.audio.get.requested_url} leads to a page")
    if url.startswith("http:"):
        yield _PLAIN_HTTP.at(url)
    robots_values = {"X-Robots-Tag": result.values("x-robots-tag"), "meta robots": page.contents("robots")}
    for form, values in robots_values.items():
        for value in values:
            if {"noindex", "none"} & {word.strip().lower() for word in value.split(",")}:
                yield _NOINDEX.at(url, f"{form}: {value}")
    directives = header_values.robots_directives(page.contents("robots"))
    for word in directives.misspelled:
        yield _MISSPELLED.at(url, f'<meta name="robots" content="... {word} ...">')
    for name, content in page.metas:
        reserves = header_values.robots_directives([content]).reserve_training
        if name.endswith("bot") and reserves and not directives.reserve_training:
            yield _FOR_ONE.at(url, f'<meta name="{name}" content="{content}">')
    for content in page.contents("tdm-reservation"):
        if header_values.tdm_reservation(content) is None:
            yield _RESERVATION.at(url, f'<meta name="tdm-reservation" content="{content}">')
    for script in page.json_ld:
        if parsed_json(script) is None:
            yield _JSON_LD.at(url, " ".join(script[:200].split()))
    recordings = [item for item in page.json_ld_objects if _types(item) & _RECORDINGS and not set(_RIGHTS) & set(item)]
    if recordings:
        recording = recordings[-1]
        title = recording.get("name")
        yield _NO_RIGHTS.at(url, " ".join((*sorted(_types(recording)), title if isinstance(title, str) else "")))


def _types(item: dict[str, Any]) -> set[str]:
    types = item.get("@type")
    return {name for name in (types if isinstance(types, list) else [types]) if isinstance(name, str)}


RULE_GROUP = RuleGroup(
    "The page",
    (_NOTHING, _NOT_HTML, _NO_AUDIO, _FOR_ONE, _MISSPELLED, _RESERVATION, _JSON_LD, _NO_RIGHTS, _PLAIN_HTTP, _NOINDEX),
    _check,
)
