"""What the observations say: each declaration read once, for all checks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from noai_guard.audit import statements
from noai_guard.audit.addresses import origin_of
from noai_guard.audit.probe.result import Observations, ProbeResult, Resource
from noai_guard.audit.readers import header_values, rsl
from noai_guard.audit.readers import tdmrep as tdmrep_reader
from noai_guard.audit.readers.html import WebPage, read_page
from noai_guard.audit.readers.robots import RobotsFile
from noai_guard.audit.readers.xml import Unreadable
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Agent, Usage
from noai_guard.declarations import tdmrep


class Interpretation:
    """The observations of one audit, and what they say. Pure: no I/O, and never raises on what a site sent."""

    def __init__(self, seen: Observations, catalog: Catalog) -> None:
        self.seen = seen
        self.catalog = catalog

    @cached_property
    def page(self) -> WebPage:
        """The page as HTML; empty when it is something else."""
        look = self.seen.page.get
        return read_page(look.text, look.url) if look.ok and look.is_html else WebPage()

    @cached_property
    def robots(self) -> RobotsFile:
        return robots_file(self.seen.robots)

    @cached_property
    def audio_robots(self) -> RobotsFile:
        """The robots.txt that holds for the audio: of its own host, when that is another."""
        return robots_file(self.seen.audio_robots) if self.seen.audio_robots else self.robots

    @property
    def robots_files(self) -> Iterator[tuple[ProbeResult, RobotsFile]]:
        """Each robots.txt that can be read, and where it is from."""
        for look, file in ((self.seen.robots, self.robots), (self.seen.audio_robots, self.audio_robots)):
            if look is not None and look.ok and not is_page(look):
                yield look, file

    @cached_property
    def tdm_entries(self) -> Sequence[tdmrep_reader.Entry]:
        """The entries of tdmrep.json; none where there is no usable file."""
        look = self.seen.documents.get(tdmrep.PATH)
        entries = tdmrep_reader.read_entries(look.body) if look and look.ok else ()
        return () if isinstance(entries, str) else entries

    @cached_property
    def licences(self) -> Sequence[rsl.RslFile]:
        """The RSL documents that can be used."""
        found = []
        for licence in self.seen.licences:
            if licence.look.ok:
                try:
                    document = rsl.read_rsl(licence.look.body)
                except Unreadable:
                    continue
                if document.is_rsl:
                    found.append(document)
        return found

    @cached_property
    def training_crawlers(self) -> tuple[Agent, ...]:
        """Crawlers for training that are well known, say that they obey robots.txt, and have a name there."""
        return tuple(
            agent
            for agent in self.catalog.agents
            if Usage.TRAIN_AI in agent.usages
            and agent.rfc9309_product_token
            and agent.status == "stable"
            and agent.rfc9309_compliance == "claimed"
        )

    def said_of(self, resource: Resource | None) -> tuple[statements.Statement, ...]:
        """What every declaration says of the page or the audio."""
        if resource is None:
            return ()
        return self._of_audio if resource is self.seen.audio else self._of_page

    @cached_property
    def _of_page(self) -> tuple[statements.Statement, ...]:
        page = self.seen.page.get
        return (
            *_of_answers(self.seen.page),
            *statements.of_metas(self.page),
            *self._of_site(page.url, self.robots),
        )

    @cached_property
    def _of_audio(self) -> tuple[statements.Statement, ...]:
        if self.seen.audio is None:
            return ()
        audio = self.seen.audio.get
        is_elsewhere = origin_of(audio.url) != origin_of(self.seen.robots.url)
        own = statements.of_robots(self.audio_robots, audio.url, self.training_crawlers)
        return (*_of_answers(self.seen.audio), *(own if is_elsewhere else self._of_site(audio.url, self.audio_robots)))

    def _of_site(self, url: str, robots: RobotsFile) -> Iterator[statements.Statement]:
        yield from statements.of_robots(robots, url, self.training_crawlers)
        yield from statements.of_tdm_file(self.tdm_entries, url)
        for licence in self.licences:
            yield from statements.of_licence(licence, url)
        yield from statements.of_site_files(self.seen.documents)

    def says_no_of(self, resource: Resource) -> bool:
        """Whether the page, or the audio, is declared closed to training.

        A form without paths counts where no other says anything: it leaves room for a part that is open.
        """
        said = [statement for statement in self.said_of(resource) if statement.usage == header_values.TRAINING]
        narrow = [statement for statement in said if not statement.whole_site]
        return any(not statement.allowed for statement in narrow or said)

    def says_yes_of(self, resource: Resource) -> bool:
        """Whether it is declared open to training, and nothing says otherwise of it."""
        return not self.says_no_of(resource) and any(
            statement.usage == header_values.TRAINING and statement.allowed for statement in self.said_of(resource)
        )

    @property
    def says_no(self) -> bool:
        """Whether any declaration says so of either."""
        seen = self.seen
        return self.says_no_of(seen.page) or (seen.audio is not None and self.says_no_of(seen.audio))


def _of_answers(resource: Resource) -> Iterator[statements.Statement]:
    """What the header lines of every answer say; of other ways to ask only what GET did not say."""
    said = tuple(statements.of_headers(resource.get))
    yield from said
    for look in resource.variants:
        way = look.method if look.method == "HEAD" else str(look.status)
        for statement in statements.of_headers(look) if look.status in (200, 206, 304) else ():
            if statement not in said:
                yield replace(statement, form=f"{statement.form} ({way})")


def robots_file(look: ProbeResult) -> RobotsFile:
    """What a robots.txt says; nothing where there is none."""
    return RobotsFile(look.body if look.ok and not is_page(look) else b"")


def is_page(look: ProbeResult) -> bool:
    """Whether an answer is an HTML page, whatever its media type says."""
    beginning = look.text[:1000].lstrip().lower()
    return beginning.startswith(("<!doctype html", "<html", "<head", "<body"))
