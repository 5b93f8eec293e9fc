"""Statements of each form of declaration about one address, in common terms, so that they can be compared."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from noai_guard.audit.probe.result import Observations, ProbeResult
from noai_guard.audit.readers import header_values, tdmrep
from noai_guard.audit.readers.audio_tags import AudioTags
from noai_guard.audit.readers.header_values import TRAINING, Preferences
from noai_guard.audit.readers.html import WebPage
from noai_guard.audit.readers.robots import RobotsFile
from noai_guard.core.model import Agent
from noai_guard.core.web_addresses import path_of
from noai_guard.declarations import ai_txt, trust_txt
from noai_guard.declarations.content_usage import split_usage
from noai_guard.declarations.shared.robots_file import Line, matches
from noai_guard.declarations.tdmrep import PATH as TDMREP_PATH
from noai_guard.tagging.fields import RESERVATION, USAGE
from noai_guard.tagging.xmp import PROPERTY as MINING


@dataclass(frozen=True, slots=True)
class Statement:
    """One form of declaration allows one usage (a label of AIPREF) or reserves it.

    `whole_site` marks forms without paths: what they reserve may be allowed for a part of the site. `in_response`
    marks header lines and metas, which come with the response itself.
    """

    form: str
    usage: str
    allowed: bool
    whole_site: bool = False
    in_response: bool = False


def from_headers(result: ProbeResult) -> Iterator[Statement]:
    """Yield the statements of the header lines of a response."""
    if header_values.robots_directives(result.values("x-robots-tag")).reserve_training:
        yield Statement("X-Robots-Tag", TRAINING, False, in_response=True)
    if usage := result.values("content-usage"):
        preferences = header_values.content_usage_value(", ".join(usage)).preferences
        yield from from_preferences("Content-Usage", preferences, in_response=True)
    for signal in result.values("content-signal"):
        preferences = header_values.content_signal_value(signal).preferences
        yield from from_preferences("Content-Signal", preferences, in_response=True)
    for reservation in result.values("tdm-reservation"):
        reserved = header_values.tdm_reservation(reservation)
        if reserved is not None:
            yield Statement("tdm-reservation", TRAINING, not reserved, in_response=True)


def from_preferences(
    form: str, preferences: Mapping[str, bool], whole_site: bool = False, in_response: bool = False
) -> Iterator[Statement]:
    """Yield the statements of one form about each of its usages."""
    for usage, allowed in preferences.items():
        yield Statement(form, usage, allowed, whole_site, in_response)


def from_metas(page: WebPage) -> Iterator[Statement]:
    """Yield the statements of the metas of a page, which cover the page alone."""
    if header_values.robots_directives(page.contents("robots")).reserve_training:
        yield Statement("meta robots", TRAINING, False, in_response=True)
    for content in page.contents("tdm-reservation"):
        reserved = header_values.tdm_reservation(content)
        if reserved is not None:
            yield Statement("meta tdm-reservation", TRAINING, not reserved, in_response=True)


def from_robots(robots: RobotsFile, url: str, crawlers: Sequence[Agent]) -> Iterator[Statement]:
    """Yield the statements of a robots.txt about an address.

    Disallow for one of the training `crawlers` is enough to reserve training if search engines are allowed: then it
    is meant against training.
    """
    disallowed = [agent for agent in crawlers if robots.disallows(agent.rfc9309_product_token or "", url)]
    if disallowed and (len(disallowed) == len(crawlers) or robots.google_allows("Googlebot", url)):
        yield Statement("robots.txt Disallow", TRAINING, False)
    if robots.google_allows("*", url):
        # AIPREF: what may not be crawled has no preference.
        lines = robots.lines_for_all("content-usage")
        yield from from_preferences("robots.txt Content-Usage", content_usage(lines, path_of(url)))
    for signal in robots.lines_for_all("content-signal"):
        preferences = header_values.content_signal_value(signal.value).preferences
        yield from from_preferences("robots.txt Content-Signal", preferences, whole_site=True)


def content_usage(lines: Iterable[Line], path: str) -> Preferences:
    """Return the preferences of one group's Content-Usage lines: the longest path counts, and no beats yes."""
    longest, preferences = -1, Preferences()
    for line in lines:
        pattern, value = split_usage(line.value)
        if len(pattern) < longest or not matches(pattern, path):
            continue
        if len(pattern) > longest:
            longest, preferences = len(pattern), {}
        for usage, allowed in header_values.content_usage_value(value).preferences.items():
            preferences[usage] = preferences.get(usage, True) and allowed
    return preferences


def from_tags(tags: AudioTags) -> Iterator[Statement]:
    """Yield the statements of the tags inside a recording."""
    reserved = header_values.tdm_reservation(tags.values.get(RESERVATION, ""))
    if reserved is not None:
        yield Statement(f"tag {RESERVATION}", TRAINING, not reserved)
    if usage := tags.values.get(USAGE):
        yield from from_preferences(f"tag {USAGE}", header_values.content_usage_value(usage).preferences)
    mining = tags.values.get(MINING, "")
    if mining == "DMI-ALLOWED" or mining.startswith("DMI-PROHIBITED"):
        yield Statement(f"tag {MINING}", TRAINING, mining == "DMI-ALLOWED")


def from_tdmrep(observations: Observations, url: str) -> Iterator[Statement]:
    """Yield the statement of the entry of tdmrep.json that applies to an address."""
    result = observations.documents.get(TDMREP_PATH)
    entry = tdmrep.first_match(tdmrep.read_entries(result.body), path_of(url)) if result and result.ok else None
    if entry and entry.reserved is not None:
        yield Statement("tdmrep.json", TRAINING, not entry.reserved)


def from_site_files(observations: Observations) -> Iterator[Statement]:
    """Yield the statements of ai.txt and trust.txt, which are about the whole site."""
    if text := observations.text_file(ai_txt.PATH):
        rules = [line.partition("#")[0].lower().replace(" ", "").strip() for line in text.text.splitlines()]
        if "disallow:/" in rules:
            yield Statement("ai.txt", TRAINING, False, whole_site=True)
        elif "allow:/" in rules:
            yield Statement("ai.txt", TRAINING, True, whole_site=True)
    if trust := observations.text_file(trust_txt.PATH):
        for value in trust_values(trust):
            if value in ("yes", "no"):
                yield Statement("trust.txt", TRAINING, value == "yes", whole_site=True)


def trust_values(result: ProbeResult) -> list[str]:
    """Return the values of `datatrainingallowed` in a trust.txt, in lower case."""
    pairs = (line.partition("#")[0].partition("=") for line in result.text.splitlines())
    return [value.strip().lower() for key, _, value in pairs if key.strip().lower() == "datatrainingallowed"]


def declaring_headers(result: ProbeResult) -> frozenset[str]:
    """Return the names of the headers of a response that declare something."""
    names = {name for name in ("Content-Usage", "Content-Signal", "tdm-reservation") if result.values(name.lower())}
    if header_values.robots_directives(result.values("x-robots-tag")).reserve_training:
        names.add("X-Robots-Tag: noai")
    if any(header_values.links(result.values("link"), "license")):
        names.add("Link rel=license")
    return frozenset(names)


def missing_headers(result: ProbeResult, expected: ProbeResult) -> str:
    """Return the declaring headers that a response lacks beside the expected one, in words; empty if it lacks none."""
    names = declaring_headers(expected) - declaring_headers(result)
    return f"without {', '.join(sorted(names))}" if names else ""
