"""One policy prepared for serving: the guard, and all header fields, documents and refusals as bytes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.catalog import Catalog
from noai_guard.core.guard import Guard
from noai_guard.core.model import Document, HeaderField, PathPolicy, Response, Usage, Verdict
from noai_guard.core.policy import Creators, Policy, Site
from noai_guard.core.promised import NOTHING_PROMISED, Promised
from noai_guard.core.stricter import StricterGuard, StricterTable
from noai_guard.core.wish_index import MAX_LISTED
from noai_guard.declarations import STANDARDS, policy_page, robots_txt
from noai_guard.declarations.shared.declared_works import DeclaredWorks, WorkSections, declared_works
from noai_guard.declarations.shared.robots_groups import Groups, build_groups
from noai_guard.declarations.shared.robots_patterns import unsupported_patterns
from noai_guard.errors import PolicyTooLong, Problem
from noai_guard.responses.actions import TEMPLATES
from noai_guard.responses.actions.license_required import licence_links
from noai_guard.responses.header_fields import Declared
from noai_guard.responses.negotiation import chosen_format
from noai_guard.responses.refusal import Format, refusal_body, sentence

_STANDARD_USAGES = frozenset({Usage.TRAIN_AI, Usage.AI_SEARCH, Usage.AI_INPUT, Usage.AI_AGENT, Usage.SEARCH})
"""Usages that the standards beside robots.txt have words for."""


_UNDECLARED = (Usage.UNKNOWN_BOT, Usage.NAMELESS)
"""Usages of clients that no declaration can address."""


_MAX_ROBOTS_OF_WORKS = 300 * 1024
"""Bytes of robots.txt in which works are named: what parsers read beyond is left to the site's own file."""

_FEW_WORKS = 100
"""Works for which lines that every group of robots.txt repeats are written."""


class _DeclaredBySection(dict[PathPolicy, Declared]):
    """What is declared in each section. Where several policies are in force, sections come up that none of them has."""

    def __init__(self, declare: Callable[[PathPolicy], Declared]) -> None:
        self._declare = declare

    def __missing__(self, path_policy: PathPolicy) -> Declared:
        return self._declare(path_policy)


class CompiledPolicy:
    """A guard with its declarations and refusals as bytes. Only `merge_own_robots` changes it after construction.

    `generated` is the date in robots.txt and on the page for people (ISO 8601). Without it there is no date, and the
    same policy and catalogue always give the same bytes. `promised` is what the ledger adds to the policy: `policy` is
    then what is declared of all that is in force. The documents are those of `documents_of`, if that is given: to write
    them takes a second where thousands of works are named.
    """

    def __init__(
        self,
        policy: Policy,
        catalog: Catalog,
        generated: str = "",
        promised: Promised = NOTHING_PROMISED,
        *,
        documents_of: "CompiledPolicy | None" = None,
    ) -> None:
        self.promised = promised
        self.guard = (
            StricterGuard((policy, *promised.policies), catalog) if promised.policies else Guard(policy, catalog)
        )
        policy = self.policy = self.guard.policy
        self.catalog = self.guard.catalog
        self._given_catalog = catalog
        table = self.guard.table
        self.standards = tuple(standard for standard in STANDARDS if policy.declares(standard.key))
        self.documents: dict[str, Document] = {}
        self.unnamed_works = False
        self.declared_works: DeclaredWorks
        self.robots_groups: Groups
        self._site: Site
        if documents_of is None:
            self._name_works(generated)
        else:
            self.declared_works, self._site = documents_of.declared_works, documents_of._site
            self.documents, self.robots_groups = documents_of.documents, documents_of.robots_groups
        self.declared = _DeclaredBySection(self._declared)
        for path_policy in table.path_policies:
            self.declared[path_policy] = self._declared(path_policy)
        self._wished: BoundedCache[PathPolicy, Declared] = BoundedCache(self._declared)
        self.site_declared = self.declared[policy.whole_site]
        self.refusals: BoundedCache[tuple[Verdict, Format], Response] = BoundedCache(self._refusal)
        self.merged_robots: BoundedCache[bytes, Document] = BoundedCache(
            lambda existing: robots_txt.document(self.robots_groups, existing),
            max_entries=32,
            max_key_weight=512 * 1024,
        )
        self.merges_robots = policy.declarations.get("robots_txt", "merge") == "merge"

    def _name_works(self, generated: str) -> None:
        """Write the documents, with as many works named as robots.txt has room for."""
        most = _FEW_WORKS
        size = self._write_documents(declared_works(self.guard.table, most), generated)
        if self.declared_works.named == most and not self.declared_works.all_named:
            # From a few times as many works it can be told how many fit.
            most = 4 * _FEW_WORKS
            size = self._write_documents(declared_works(self.guard.table, most), generated)
            if self.declared_works.named == most and size < _MAX_ROBOTS_OF_WORKS:
                most = min(MAX_LISTED, most * _MAX_ROBOTS_OF_WORKS // max(size, 1))
                size = self._write_documents(declared_works(self.guard.table, most), generated)
        while size > _MAX_ROBOTS_OF_WORKS and self.declared_works.named:
            most = self.declared_works.named * 3 // 4
            size = self._write_documents(declared_works(self.guard.table, most), generated)

    def _write_documents(self, works: DeclaredWorks, generated: str) -> int:
        """Write the documents, and return the size of robots.txt before the site's own is merged into it."""
        policy, table = self.policy, self.guard.table
        self.declared_works = works
        self.documents = {
            document.path: document
            for standard in self.standards
            for document in (
                policy_page.documents(table, generated, self.promised.announcements)
                if standard is policy_page.STANDARD
                else standard.documents(works.table)
            )
        }
        self.documents |= {document.path: document for document in self.promised.documents}
        has_page = "://" in policy.site.policy_page or policy.site.policy_page in self.documents
        self._site = policy.site if has_page else replace(policy.site, policy_page="")
        preamble = robots_txt.preamble(works.policy, self._site, generated)
        # Lines for a path stand in every group, so those of many works would fill the file.
        lines = (works if works.named <= _FEW_WORKS else declared_works(table, 0)).policy
        self.robots_groups = build_groups(works.table, STANDARDS, tuple(self.documents), preamble, lines)
        if robots_txt.STANDARD not in self.standards:
            return 0
        try:
            self.merge_own_robots(b"")
        except PolicyTooLong:
            if not works.named:
                raise
            return 2 * robots_txt.MAX_BYTES
        return len(self.documents[robots_txt.PATH].body)

    def declared_on(self, path_policy: PathPolicy) -> Declared:
        """Return what is declared on the paths of a section, or of works in it for which something is wished.

        Where documents reserve for all works what is reserved for some, fields say what is not reserved too.
        """
        return self.declared.get(path_policy) or self._wished[path_policy]

    def merge_own_robots(self, existing: bytes) -> None:
        """Merge the site's own robots.txt into the document. Raise PolicyTooLong if the policy's part is."""
        try:
            self.documents[robots_txt.PATH] = robots_txt.document(self.robots_groups, existing)
        except robots_txt.TooLong:
            message = "what it refuses takes more than the 500 KiB of robots.txt that crawlers read"
            hint = "use fewer, shorter or wider path patterns, or declarations: {robots_txt: off}"
            raise PolicyTooLong([Problem("P024", message, hint)]) from None

    @property
    def has_wishes(self) -> bool:
        """True if creators have a say in some works."""
        creators = self.policy.creators
        return bool(self.policy.works.patterns) and (creators.asked or creators.index is not None)

    def without_wishes(self) -> "CompiledPolicy":
        """Return the policy with the documents of this one, and the sections of the site alone."""
        policy = replace(self.policy, creators=Creators())
        return CompiledPolicy(policy, self._given_catalog, promised=self.promised, documents_of=self)

    def with_sections(self, most: int, *, any_wish: bool = False) -> "CompiledPolicy":
        """Return the policy for those who know no works: with a section for each of at most so many works whose creator
        wishes something else than the site.

        The sections of the others reserve what any creator reserves; with `any_wish`, everything that one may.
        """
        if not self.has_wishes:
            return self
        table = self.guard.table
        tables = table.tables if isinstance(table, StricterTable) else (table,)
        works = [WorkSections(each).with_any_wish() if any_wish else declared_works(each, most) for each in tables]
        policy, *promised = [replace(each.policy, creators=Creators()) for each in works]
        compiled = CompiledPolicy(
            policy, self._given_catalog, promised=replace(self.promised, policies=tuple(promised)), documents_of=self
        )
        compiled.unnamed_works = not works[0].all_named
        return compiled

    @property
    def limitations(self) -> tuple[str, ...]:
        """One sentence for each part of the policy that some declaration cannot express. The guard enforces it all."""
        return tuple(self._limitations())

    def _limitations(self) -> Iterator[str]:
        policy = self.policy
        for pattern, location in unsupported_patterns(policy):
            yield (
                f"{pattern} ({location}) cannot be expressed in robots.txt and tdmrep.json: "
                "it is enforced, not declared there."
            )
        if robots_txt.STANDARD in self.standards:
            yield from robots_txt.limitations(policy, self.robots_groups)
            yield from self.documents[robots_txt.PATH].notes
            # The other standards know no agents, and fewer usages.
            if policy.rules:
                ids = ", ".join(rule.id for rule in policy.rules)
                yield f"only robots.txt addresses single agents: the other declarations do not express the rules {ids}."
            reserved = [usage for usage in Usage if usage not in _STANDARD_USAGES and policy.reserves(usage)]
            others = ", ".join(usage for usage in reserved if usage not in _UNDECLARED)
            if others:
                yield f"only robots.txt denies {others}, agent by agent: the other standards have no word for it."
            for usage in _UNDECLARED:
                if usage in reserved:
                    yield f"{usage}: nothing is declared to clients that are not in the catalogue."
        for standard in self.standards:
            yield from standard.limitations(policy)
        yield from self._limitations_of_works()

    def _limitations_of_works(self) -> Iterator[str]:
        """Yield how many works the documents do not name; header fields and guard say what holds for each."""
        works = self.declared_works
        said = "the header fields of each response and the guard say what holds for each work"
        if works.differing is None:
            yield (
                "no document names single works, because their wishes are asked one by one: tdmrep.json and "
                f"license.xml reserve for all of them what a creator may reserve; {said}."
            )
        elif not works.all_named:
            yield (
                f"the documents name {works.named:,} of the {works.differing:,} works for which creators wish "
                "something else than the site: robots.txt is read to 500 KiB, and needs paths without wildcards. "
                f"tdmrep.json and license.xml reserve for the others what any creator reserves; {said}."
            )

    def _declared(self, path_policy: PathPolicy) -> Declared:
        policy, standards = self.declared_works.policy, self.standards
        if not path_policy.reserves_anything and self.declared_works.all_named:
            # A 402 links to the licence, and most servers send one set of lines on all responses of a section.
            return Declared(tuple(licence_links(policy)) if policy.sells(path_policy) else (), b"")
        fields = tuple(field for standard in standards for field in standard.header_fields(policy, path_policy))
        has_tags = policy.declares("html_meta")
        tags = b"".join(tag for standard in standards for tag in standard.tags(policy, path_policy) if has_tags)
        return Declared(fields, tags)

    def refusal(self, verdict: Verdict, path: str, method: str, headers: Iterable[HeaderField]) -> Response:
        """Return the response to a verdict that refuses, in the format that `chosen_format` finds for the request."""
        return self.refusals[verdict, chosen_format(path, method, headers)]

    def _refusal(self, key: tuple[Verdict, Format]) -> Response:
        verdict, format = key
        template = TEMPLATES[verdict.action]
        site = self._site
        text = sentence(template.sentence, verdict)
        content = refusal_body(format, template.status, template.title, text, verdict, site)
        headers: list[HeaderField] = [
            (b"content-type", format.value.encode("ascii")),
            (b"content-length", b"%d" % len(content)),
            (b"cache-control", b"no-store"),
            (b"vary", b"User-Agent, Accept"),
            (b"x-content-type-options", b"nosniff"),
            *template.header_fields(verdict, self.policy),
        ]
        return Response(template.status, tuple(self.declared_on(verdict.path_policy).added_to(headers)[0]), content)
