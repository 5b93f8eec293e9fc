"""The meaning of the observations: declarations parsed for all checks."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

from noai_guard.audit import statements
from noai_guard.audit.probe.result import ClientResponses, Observations, ProbeResult, Resource
from noai_guard.audit.readers.audio_tags import AudioTags, read_tags
from noai_guard.audit.readers.header_values import TRAINING
from noai_guard.audit.readers.html import WebPage, read_page
from noai_guard.audit.readers.robots import RobotsFile
from noai_guard.audit.readers.rsl import RslFile
from noai_guard.audit.readers.xml import Unreadable
from noai_guard.audit.statements import Statement
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Agent, Usage
from noai_guard.core.web_addresses import origin_of


class Interpretation:
    """The observations of one audit, parsed. Does no I/O, and never raises for what a site sent."""

    def __init__(self, observations: Observations, catalog: Catalog) -> None:
        self.observations = observations
        self.catalog = catalog

    @cached_property
    def page(self) -> WebPage:
        """The page as HTML; empty if it is something else."""
        return read_html(self.observations.page.get)

    @cached_property
    def robots_files(self) -> tuple[tuple[ProbeResult, RobotsFile], ...]:
        """Each robots.txt with its response: of the page's host, then of the audio's if that is another one."""
        results = filter(None, (self.observations.robots, self.observations.audio_robots))
        return tuple((result, read_robots(result)) for result in results)

    @property
    def robots(self) -> RobotsFile:
        """The robots.txt of the page's host."""
        return self.robots_files[0][1]

    def robots_of(self, resource: Resource) -> tuple[ProbeResult, RobotsFile]:
        """Return the robots.txt that is about the page or the audio, with its response."""
        return self.robots_files[-1 if resource is self.observations.audio else 0]

    @cached_property
    def licences(self) -> tuple[RslFile, ...]:
        """The usable RSL documents."""
        documents: list[RslFile] = []
        for licence in self.observations.licences:
            with suppress(Unreadable):
                documents += [RslFile(licence.result.body)] if licence.result.ok else ()
        return tuple(document for document in documents if document.is_rsl)

    @cached_property
    def audio_tags(self) -> AudioTags | None:
        """The tags of the audio; None if there is no audio to be looked at."""
        if self.observations.audio_bytes is None:
            return None
        tags = read_tags(self.observations.audio_bytes)
        return tags if isinstance(tags, AudioTags) else AudioTags(problem="not all that holds them was fetched")

    @cached_property
    def tag_statements(self) -> tuple[Statement, ...]:
        """What the tags of the audio say."""
        return tuple(statements.from_tags(self.audio_tags)) if self.audio_tags else ()

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

    def statements_about(self, resource: Resource) -> tuple[Statement, ...]:
        """Return what every declaration says about the page or the audio."""
        return self._statements[-1 if resource is self.observations.audio else 0]

    @cached_property
    def _statements(self) -> list[tuple[Statement, ...]]:
        return [tuple(self._about(resource)) for resource in self.observations.resources]

    def _about(self, resource: Resource) -> Iterator[Statement]:
        url = resource.get.url
        yield from _from_responses(resource)
        if resource is self.observations.page:
            yield from statements.from_metas(self.page)
        else:
            yield from self.tag_statements
        _, robots = self.robots_of(resource)
        yield from statements.from_robots(robots, url, self.training_crawlers)
        if resource is self.observations.page or origin_of(url) == origin_of(self.observations.robots.url):
            yield from statements.from_tdmrep(self.observations, url)
            for licence in self.licences:
                yield from statements.from_preferences("RSL licence", licence.preferences(url))
            yield from statements.from_site_files(self.observations)

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
        return any(map(self.reserves_training, self.observations.resources))

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


def read_html(result: ProbeResult) -> WebPage:
    """Parse a page; it is empty if the response is none."""
    return read_page(result.text, result.url) if result.ok and result.is_html else WebPage()


def read_robots(result: ProbeResult) -> RobotsFile:
    """Parse a robots.txt; the file is empty if the response is none."""
    return RobotsFile(result.body if result.ok and not result.has_html_body else b"")
