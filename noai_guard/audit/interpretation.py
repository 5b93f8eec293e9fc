"""The meaning of the observations: each declaration parsed once, for all checks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from noai_guard.audit import statements
from noai_guard.audit.addresses import origin_of
from noai_guard.audit.probe.result import ClientResponses, Observations, ProbeResult, Resource
from noai_guard.audit.readers import rsl
from noai_guard.audit.readers import tdmrep as tdmrep_reader
from noai_guard.audit.readers.header_values import TRAINING
from noai_guard.audit.readers.html import WebPage, read_page
from noai_guard.audit.readers.robots import RobotsFile
from noai_guard.audit.readers.xml import Unreadable
from noai_guard.audit.statements import Statement
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Agent, Usage
from noai_guard.declarations import tdmrep


class Interpretation:
    """The observations of one audit, parsed. Does no I/O, and never raises for what a site sent."""

    def __init__(self, observations: Observations, catalog: Catalog) -> None:
        self.observations = observations
        self.catalog = catalog

    @cached_property
    def page(self) -> WebPage:
        """The page as HTML; empty if it is something else."""
        result = self.observations.page.get
        return read_page(result.text, result.url) if result.ok and result.is_html else WebPage()

    @cached_property
    def robots(self) -> RobotsFile:
        """The robots.txt of the page's host."""
        return read_robots(self.observations.robots)

    @cached_property
    def audio_robots(self) -> RobotsFile:
        """The robots.txt of the audio's host."""
        return read_robots(self.observations.audio_robots) if self.observations.audio_robots else self.robots

    @property
    def robots_files(self) -> Iterator[tuple[ProbeResult, RobotsFile]]:
        """Each robots.txt that could be fetched, with its response."""
        observations = self.observations
        for result, file in ((observations.robots, self.robots), (observations.audio_robots, self.audio_robots)):
            if result is not None and result.ok and not is_html_page(result):
                yield result, file

    @cached_property
    def tdm_entries(self) -> Sequence[tdmrep_reader.Entry]:
        """The entries of tdmrep.json; none if there is no usable file."""
        result = self.observations.documents.get(tdmrep.PATH)
        entries = tdmrep_reader.read_entries(result.body) if result and result.ok else ()
        return () if isinstance(entries, str) else entries

    @cached_property
    def licences(self) -> Sequence[rsl.RslFile]:
        """The usable RSL documents."""
        documents = []
        for licence in self.observations.licences:
            if licence.result.ok:
                try:
                    document = rsl.read_rsl(licence.result.body)
                except Unreadable:
                    continue
                if document.is_rsl:
                    documents.append(document)
        return documents

    @cached_property
    def training_crawlers(self) -> tuple[Agent, ...]:
        """The established training crawlers that claim to obey robots.txt and have a name there."""
        return tuple(
            agent
            for agent in self.catalog.agents
            if Usage.TRAIN_AI in agent.usages
            and agent.rfc9309_product_token
            and agent.status == "stable"
            and agent.rfc9309_compliance == "claimed"
        )

    def statements_about(self, resource: Resource | None) -> tuple[Statement, ...]:
        """Return what every declaration says about the page or the audio."""
        if resource is None:
            return ()
        return self._about_audio if resource is self.observations.audio else self._about_page

    @cached_property
    def _about_page(self) -> tuple[Statement, ...]:
        page = self.observations.page
        return (
            *_from_responses(page),
            *statements.from_metas(self.page),
            *self._from_site(page.get.url, self.robots),
        )

    @cached_property
    def _about_audio(self) -> tuple[Statement, ...]:
        audio = self.observations.audio
        if audio is None:
            return ()
        url = audio.get.url
        if origin_of(url) == origin_of(self.observations.robots.url):
            from_files = self._from_site(url, self.audio_robots)
        else:
            from_files = statements.from_robots(self.audio_robots, url, self.training_crawlers)
        return (*_from_responses(audio), *from_files)

    def _from_site(self, url: str, robots: RobotsFile) -> Iterator[Statement]:
        yield from statements.from_robots(robots, url, self.training_crawlers)
        yield from statements.from_tdmrep(self.tdm_entries, url)
        for licence in self.licences:
            yield from statements.from_rsl(licence, url)
        yield from statements.from_site_files(self.observations.documents)

    def reserves_training(self, resource: Resource) -> bool:
        """Return True if the page or the audio is declared closed to training.

        A form without paths counts only if no other says anything: it leaves room for a part that is open.
        """
        about = [statement for statement in self.statements_about(resource) if statement.usage == TRAINING]
        specific = [statement for statement in about if not statement.whole_site]
        return any(not statement.allowed for statement in specific or about)

    def allows_training(self, resource: Resource) -> bool:
        """Return True if the page or the audio is declared open to training, and nothing reserves it."""
        return not self.reserves_training(resource) and any(
            statement.usage == TRAINING and statement.allowed for statement in self.statements_about(resource)
        )

    @property
    def reserves_training_anywhere(self) -> bool:
        """True if any declaration closes the page or the audio to training."""
        page, audio = self.observations.page, self.observations.audio
        return self.reserves_training(page) or (audio is not None and self.reserves_training(audio))

    def robots_verdict(self, responses: ClientResponses) -> str | None:
        """Return `open` or `closed`, as robots.txt says to a crawler about the page; None for people's software."""
        if responses.robots is None:
            return None
        is_open = self.robots.google_allows(responses.client.agent, self.observations.page.get.url)
        return "open" if is_open else "closed"


def _from_responses(resource: Resource) -> Iterator[Statement]:
    """Yield the statements of the response to GET, and of other methods those that GET lacks."""
    from_get = tuple(statements.from_headers(resource.get))
    yield from from_get
    for result in resource.variants:
        variant = result.method if result.method == "HEAD" else str(result.status)
        for statement in statements.from_headers(result) if result.status in (200, 206, 304) else ():
            if statement not in from_get:
                yield replace(statement, form=f"{statement.form} ({variant})")


def read_robots(result: ProbeResult) -> RobotsFile:
    """Parse a robots.txt; the file is empty if the response is none."""
    return RobotsFile(result.body if result.ok and not is_html_page(result) else b"")


def is_html_page(result: ProbeResult) -> bool:
    """Return True if the body is an HTML page, whatever its media type."""
    beginning = result.text[:1000].lstrip().lower()
    return beginning.startswith(("<!doctype html", "<html", "<head", "<body"))
