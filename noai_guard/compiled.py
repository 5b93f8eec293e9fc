"""One policy made ready to serve: the judge, and every byte that can be prepared before a request comes."""

from collections.abc import Iterable
from dataclasses import replace

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.catalog import Catalog
from noai_guard.core.guard import Guard
from noai_guard.core.model import Document, HeaderField, Response, Verdict
from noai_guard.core.policy import DecisionTable, PathPolicy, Policy
from noai_guard.core.site_addresses import policy_address
from noai_guard.declarations import STANDARDS, limitations, robots_patterns, robots_txt
from noai_guard.responses.actions import ANSWERS
from noai_guard.responses.header_fields import Declared
from noai_guard.responses.negotiation import chosen_format
from noai_guard.responses.refusal import Format, body

OPEN_PREFIX = "/.well-known/"


class CompiledPolicy:
    """A guard with its declarations and refusals in bytes. Never changes after it was made.

    `generated` is the day that robots.txt names as its own (ISO 8601); without it no day is named, and the same
    policy and catalogue give the same bytes.
    """

    def __init__(self, policy: Policy, catalog: Catalog, generated: str = "") -> None:
        self.policy = policy
        self._generated = generated
        self.catalog = catalog
        self.guard = Guard(policy, catalog)
        self.standards = tuple(standard for standard in STANDARDS if policy.declarations.get(standard.key) != "off"
                               and policy.declares(standard.key))  # fmt: skip
        self.documents = self._documents(self.guard.table)
        self.declared = tuple(self._declared(path_policy) for path_policy in self.guard.table.path_policies)
        self.refusals: BoundedCache[tuple[Verdict, Format], Response] = BoundedCache(self._refusal)
        self.merged_robots: BoundedCache[bytes, Document] = BoundedCache(
            self._merged_robots, most=8, heaviest=512 * 1024
        )
        self.merges_robots = policy.declarations.get("robots_txt", "merge") == "merge"

    def _documents(self, table: DecisionTable) -> dict[str, Document]:
        found = [document for standard in self.standards for document in standard.documents(table)]
        documents = {document.path: document for document in found}
        lines = [line for standard in self.standards for line in standard.robots_lines(table.policy)]
        site = table.policy.site
        if "://" not in site.policy_page and site.policy_page not in documents:
            site = replace(site, policy_page="")
        self._site = site
        reserves = any(path_policy.reserves_anything for path_policy in table.path_policies)
        says = "This site reserves its rights" if reserves else "What programs may do on this site"
        preamble = [f"{says}{f' ({site.owner})' if site.owner else ''}. Stance: {table.policy.stance}."]
        if site.policy_page:
            preamble.append(f"In plain words: {policy_address(site)}")
        preamble.append(robots_txt.generated_line(self._generated))
        self.robots_groups = robots_txt.groups(table, lines, tuple(documents), preamble)
        if any(standard.key == "robots_txt" for standard in self.standards):
            documents[robots_txt.PATH] = robots_txt.document(self.robots_groups)
        return documents

    @property
    def inexpressible(self) -> tuple[robots_patterns.Inexpressible, ...]:
        """Path patterns that robots.txt, tdmrep.json and Content-Usage leave out; the guard enforces them."""
        return robots_patterns.inexpressible(self.policy)

    @property
    def limitations(self) -> tuple[str, ...]:
        """What some declaration cannot say of this policy, in sentences; the guard does it all the same."""
        return tuple(limitations.sentences(self.policy, self.standards, self.robots_groups))

    def _merged_robots(self, existing: bytes) -> Document:
        merged = robots_txt.merge(existing, self.robots_groups)
        return Document(robots_txt.PATH, robots_txt.MEDIA_TYPE, merged)

    def _declared(self, path_policy: PathPolicy) -> Declared:
        if not path_policy.reserves_anything:
            return Declared((), b"")
        fields = tuple(
            field for standard in self.standards for field in standard.header_fields(self.policy, path_policy)
        )
        tags = (
            b"".join(tag for standard in self.standards for tag in standard.tags(self.policy, path_policy))
            if self.policy.declares("html_meta")
            else b""
        )
        return Declared(fields, tags)

    def refusal(self, verdict: Verdict, path: str, method: str, headers: Iterable[HeaderField]) -> Response:
        """The answer to a verdict that refuses: HTML only for a person's page load, JSON where it is asked for."""
        return self.refusals[verdict, chosen_format(path, method, headers)]

    def _refusal(self, key: tuple[Verdict, Format]) -> Response:
        verdict, format = key
        answer = ANSWERS[verdict.action]
        site = self._site
        sentence = answer.sentence(verdict, site)
        content = body(format, answer.status, answer.title, sentence, verdict, site)
        headers: list[HeaderField] = [
            (b"content-type", format.value.encode("ascii")),
            (b"content-length", b"%d" % len(content)),
            (b"cache-control", b"no-store"),
            (b"vary", b"User-Agent, Accept"),
            (b"x-content-type-options", b"nosniff"),
            *answer.fields(verdict, site),
        ]
        return Response(answer.status, tuple(self.declared[verdict.path_policy].added_to(headers)[0]), content)
