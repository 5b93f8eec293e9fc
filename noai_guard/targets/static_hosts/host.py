"""The shape of a static host, and the header rules that each of them gets from a policy."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.model import Document
from noai_guard.core.path_patterns import by_specificity
from noai_guard.responses.documents import document_file
from noai_guard.responses.header_fields import one_line_per_name
from noai_guard.targets.plan import MAX_WORKS
from noai_guard.targets.target import File, Target

HeaderFields = Mapping[str, str]
"""Header fields: usual spelling of a name -> its only line."""

_NOTHING_RESERVED = {"X-Robots-Tag": "all"}
"""Values that neutralize an inherited header (`all` = no X-Robots-Tag)."""


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """Header fields of a site, by path.

    `everywhere` holds for the whole site. `by_pattern` are path patterns of the policy; where one matches, its fields
    replace what stood before, and the last one counts. `by_document` are paths of our documents, each of one file.
    """

    everywhere: HeaderFields
    by_pattern: tuple[tuple[str, HeaderFields], ...]
    by_document: tuple[tuple[str, HeaderFields], ...]

    @property
    def declaration_names(self) -> frozenset[str]:
        """Names of the fields that declare something."""
        return frozenset(self.everywhere).union(*(fields for _, fields in self.by_pattern))


def _one_line_per_name(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the fields in their usual spelling: hosts send one line for a name, whatever their file holds."""
    return {name.decode("ascii").title(): value.decode("ascii") for name, value in one_line_per_name(fields).items()}


@dataclass(frozen=True)
class StaticSite:
    """A static site to be published: its policy, the documents to be written, and the content of the host's
    configuration file now (empty if it does not exist)."""

    compiled: CompiledPolicy
    documents: tuple[Document, ...]
    existing: bytes = b""

    @cached_property
    def rules(self) -> HeaderRules:
        """Return the header fields that a policy declares, by path.

        A host applies every rule that matches, and hardly any can remove a field: a pattern comes after those that are
        less specific, and one that reserves nothing says so.
        """
        compiled = self.compiled.with_sections(MAX_WORKS)
        policy = compiled.policy
        names = {name.decode("ascii").title() for declared in compiled.declared.values() for name, _ in declared.fields}
        nothing = {name: value for name, value in _NOTHING_RESERVED.items() if name in names}
        everywhere, *by_path_policy = [
            nothing
            | _one_line_per_name(field for each in compiled.standards for field in each.header_fields(policy, part))
            if names
            else {}
            for part in policy.all_path_policies
        ]
        patterns = [path_policy.pattern for path_policy in policy.path_policies]
        least_specific_first = reversed(by_specificity(patterns))
        by_pattern = tuple((patterns[index], by_path_policy[index]) for index in least_specific_first)
        return HeaderRules(
            everywhere,
            by_pattern if any(fields != everywhere for fields in by_path_policy) else (),
            tuple(
                (path, {"Content-Type": document.media_type, "Access-Control-Allow-Origin": "*"})
                for path, document in sorted(compiled.documents.items())
            ),
        )


@dataclass(frozen=True, slots=True)
class StaticHost(Target[StaticSite]):
    """A host that serves files and reads header fields from `config_file`, which may hold rules of the site's own."""

    config_file: str = ""

    def limitations(self, setup: StaticSite) -> Iterator[str]:
        """Yield what no declaration says of the policy, what this host cannot do, and what the author has to add."""
        yield from setup.compiled.limitations
        if setup.compiled.has_wishes:
            yield f"wishes of creators: {MAX_WORKS} works at most have header fields of their own here, those of today."
        yield from self.specific_limitations(setup)
        yield from page_tags(setup.compiled)


def files(site: StaticSite, config_file: str, content: bytes) -> list[File]:
    """Return the documents and, unless it would be empty, the configuration file of a host."""
    config = [File(config_file, content, "header fields")] if content else []
    return [*document_files(site.documents), *config]


def page_tags(compiled: CompiledPolicy) -> Iterator[str]:
    """Yield what the author has to add to the pages, which no file beside them can do."""
    if tags := compiled.site_declared.tags:
        yield f"put this into the head of your pages: {tags.decode('ascii')}"


def document_files(documents: Iterable[Document]) -> Iterator[File]:
    """Yield each document as a file below the root of the site."""
    return (File(document_file(document), document.body, document.media_type) for document in documents)
