"""What each declaration says of one address, in the same words, so that they can be compared."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from noai_guard.audit.addresses import path_of
from noai_guard.audit.probe.result import ProbeResult
from noai_guard.audit.readers import header_values, tdmrep
from noai_guard.audit.readers.header_values import TRAINING
from noai_guard.audit.readers.html import WebPage
from noai_guard.audit.readers.robots import Line, RobotsFile
from noai_guard.audit.readers.rsl import RslFile
from noai_guard.core.model import Agent
from noai_guard.declarations import ai_txt, trust_txt
from noai_guard.declarations.robots_txt import matches


@dataclass(frozen=True, slots=True)
class Statement:
    """One form says that one usage (AIPREF's label) is allowed, or is not.

    `whole_site` marks forms without paths: a no of theirs leaves room for a part of the site that says otherwise.
    `here` marks those that come with the answer itself: its header lines and metas.
    """

    form: str
    usage: str
    allowed: bool
    whole_site: bool = False
    here: bool = False


def of_headers(look: ProbeResult) -> Iterator[Statement]:
    """What the header lines of an answer say."""
    if header_values.robots_directives(look.values("x-robots-tag")).meant:
        yield Statement("X-Robots-Tag", TRAINING, False, here=True)
    if usage := look.values("content-usage"):
        yield from _said("Content-Usage", header_values.content_usage_value(", ".join(usage)).said, here=True)
    for signal in look.values("content-signal"):
        yield from _said("Content-Signal", header_values.content_signal_value(signal).said, here=True)
    for reservation in look.values("tdm-reservation"):
        reserved = header_values.tdm_reservation(reservation)
        if reserved is not None:
            yield Statement("tdm-reservation", TRAINING, not reserved, here=True)


def _said(form: str, said: Mapping[str, bool], whole_site: bool = False, here: bool = False) -> Iterator[Statement]:
    for usage, allowed in said.items():
        yield Statement(form, usage, allowed, whole_site, here)


def of_metas(page: WebPage) -> Iterator[Statement]:
    """What the metas of a page say, which cover the page alone."""
    if header_values.robots_directives(page.contents("robots")).meant:
        yield Statement("meta robots", TRAINING, False, here=True)
    for content in page.contents("tdm-reservation"):
        reserved = header_values.tdm_reservation(content)
        if reserved is not None:
            yield Statement("meta tdm-reservation", TRAINING, not reserved, here=True)


def of_robots(robots: RobotsFile, url: str, crawlers: Sequence[Agent]) -> Iterator[Statement]:
    """What a robots.txt says of an address: Disallow to crawlers that train, and the lines for everybody.

    One such crawler is enough where search engines may come in: it is meant against training then.
    """
    closed = [agent for agent in crawlers if robots.closes(agent.rfc9309_product_token or "", url)]
    if closed and (len(closed) == len(crawlers) or robots.google_allows("Googlebot", url)):
        yield Statement("robots.txt Disallow", TRAINING, False)
    if robots.google_allows("*", url):
        # AIPREF: what may not be crawled has no preference.
        path = path_of(url)
        yield from _said("robots.txt Content-Usage", preference(robots.for_everybody("content-usage"), path))
    for signal in robots.for_everybody("content-signal"):
        said = header_values.content_signal_value(signal.value).said
        yield from _said("robots.txt Content-Signal", said, whole_site=True)


def preference(lines: Iterable[Line], path: str) -> header_values.Said:
    """What Content-Usage lines of one group say of a path: the longest path that matches; a no beats a yes."""
    best, said = -1, header_values.Said()
    for line in lines:
        pattern, value = split_usage(line.value)
        if len(pattern) < best or not matches(pattern, path):
            continue
        if len(pattern) > best:
            best, said = len(pattern), {}
        for usage, allowed in header_values.content_usage_value(value).said.items():
            said[usage] = said.get(usage, True) and allowed
    return said


def split_usage(value: str) -> tuple[str, str]:
    """A Content-Usage line of robots.txt -> its path (`` for the whole site) and its preference."""
    if not value.startswith("/"):
        return "", value
    path, *rest = value.split(maxsplit=1)
    return path, rest[0] if rest else ""


def of_tdm_file(entries: Sequence[tdmrep.Entry], url: str) -> Iterator[Statement]:
    entry = tdmrep.first_match(entries, path_of(url))
    if entry and entry.reserved is not None:
        yield Statement("tdmrep.json", TRAINING, not entry.reserved)


def of_licence(licence: RslFile, url: str) -> Iterator[Statement]:
    yield from _said("RSL licence", licence.said(url))


def of_site_files(documents: Mapping[str, ProbeResult]) -> Iterator[Statement]:
    """What ai.txt and trust.txt say of the whole site."""
    text = documents.get(ai_txt.PATH)
    if text and text.ok and not text.is_html:
        rules = [line.partition("#")[0].lower().replace(" ", "").strip() for line in text.text.splitlines()]
        if "disallow:/" in rules:
            yield Statement("ai.txt", TRAINING, False, whole_site=True)
        elif "allow:/" in rules:
            yield Statement("ai.txt", TRAINING, True, whole_site=True)
    trust = documents.get(trust_txt.PATH)
    if trust and trust.ok and not trust.is_html:
        for value in trust_values(trust):
            if value in ("yes", "no"):
                yield Statement("trust.txt", TRAINING, value == "yes", whole_site=True)


def trust_values(look: ProbeResult) -> list[str]:
    """The values of `datatrainingallowed` in a trust.txt, in lower case."""
    pairs = (line.partition("#")[0].partition("=") for line in look.text.splitlines())
    return [value.strip().lower() for key, _, value in pairs if key.strip().lower() == "datatrainingallowed"]


def declared_by(look: ProbeResult) -> frozenset[str]:
    """Which declaring header lines an answer has."""
    lines = {name for name in ("Content-Usage", "Content-Signal", "tdm-reservation") if look.values(name.lower())}
    if header_values.robots_directives(look.values("x-robots-tag")).meant:
        lines.add("X-Robots-Tag: noai")
    if any(header_values.links(look.values("link"), "license")):
        lines.add("Link rel=license")
    return frozenset(lines)


def lacking(look: ProbeResult, expected: ProbeResult) -> str:
    """The declaring header lines that an answer lacks beside another, in words; empty when it lacks none."""
    lines = declared_by(expected) - declared_by(look)
    return f"without {', '.join(sorted(lines))}" if lines else ""
