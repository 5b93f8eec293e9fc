"""The policy in force, with everything that is computed once and looked up by every request."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from urllib.parse import unquote_to_bytes

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.client_address import ClientAddress
from noai_guard.core.decision_table import PathClass
from noai_guard.core.guard import Needs
from noai_guard.core.model import (
    UNCLAIMED_AGENTS,
    Action,
    Agent,
    Claim,
    Document,
    Identity,
    Mode,
    Response,
    Verdict,
)
from noai_guard.core.paths import normal_path
from noai_guard.core.questions import Examination
from noai_guard.observability.counters import LocalCounts
from noai_guard.observability.events import PolicyInForce, is_of_people
from noai_guard.responses.refusal import Format

_FOR_EVERYONE = "declarations are for everyone"


@dataclass(slots=True, eq=False)
class ServeDocument:
    """Outcome: send a document, to everyone."""

    active: "ActivePolicy"
    document: Document


@dataclass(slots=True, eq=False)
class Decided:
    """Outcome: send `refusal`, or pass the request on if it is None.

    `cacheable`: every request of this user agent, client address and path class gets the same until the policy
    changes. `client` is the client's address if it was looked at.
    """

    cached: "CachedDecision"
    refusal: Response | None = None
    path_class: PathClass | None = None
    _: KW_ONLY
    cacheable: bool = False
    client: ClientAddress | None = None


Outcome = ServeDocument | Decided | Examination[Decided]
"""The outcome of `decide`. An Examination has questions first; drive it to its Decided."""


class CachedDecision:
    """A verdict with what goes with it: its counts, and what the response declares.

    `settled`: nothing else has to be known, the verdict is final; else `needs` says what. `plain`: passed on, nothing
    to note. `recorded`: whoever sends the response hands an event to the record (`Recording.event`), which says what
    is `in_force`. `refuses` as the verdict does. `passed` is the outcome if the request is passed on, `refused`
    has those if it is refused, by the format of the refusal.
    """

    __slots__ = (
        "counts",
        "declared",
        "in_force",
        "needs",
        "passed",
        "plain",
        "recorded",
        "refused",
        "refuses",
        "settled",
        "verdict",
    )

    def __init__(
        self,
        compiled: CompiledPolicy,
        verdict: Verdict,
        counts: LocalCounts,
        in_force: PolicyInForce | None,
        path_class: PathClass | None = None,
        needs: Needs = Needs.NOTHING,
    ) -> None:
        self.verdict = verdict
        self.counts = counts
        self.declared = compiled.declared_on(verdict.path_policy)
        self.needs = needs
        self.settled = needs is Needs.NOTHING
        self.plain = verdict.action is Action.ALLOW
        self.in_force = in_force
        self.recorded = in_force is not None and not (self.plain and is_of_people(verdict.agent))
        self.refuses = verdict.refuses
        self.passed = Decided(self, path_class=path_class, cacheable=path_class is not None)
        self.refused: dict[Format, Decided] = {}


@dataclass(slots=True, eq=False)
class ResolvedPath:
    """Everything known of one path, as the server hands it over: the document published there, decisions by claim.

    `path` is normalised. The document is only published if the app is mounted at `root`, and only by the guard itself:
    what may be read as the path of a document, like `/x/../robots.txt`, another server may read as something else.
    `works` are those that the path may be part of, if a function of the site has to be asked about them: then `wished`
    holds the same path by the number of the answer. `usual`: nothing but these decisions.
    """

    path: str
    document: Document | None
    root: str
    path_class: PathClass
    decisions: BoundedCache[Claim, CachedDecision]
    works: tuple[str, ...] = ()
    wished: dict[int, "ResolvedPath"] = field(default_factory=dict)
    usual: bool = field(init=False)

    def __post_init__(self) -> None:
        self.usual = self.document is None and not self.works

    def publishes(self, method: str, root_path: str) -> bool:
        """Return True if a request is for the document: at the root of the host, or of an app mounted below it."""
        root = self.root
        return self.document is not None and method in ("GET", "HEAD") and (not root or root == root_path.rstrip("/"))


class ActivePolicy:
    """One policy in force. Replaced as a whole, so a request that holds it sees one policy from beginning to end.

    `counts` gives the counts of a verdict. `in_force` is what events say of the policy, None if no record is kept;
    `document_verdicts` are what they say of a declaration that an agent fetches. `paths` are decoded, `targets` hold
    each spelling of a path as it was sent.
    """

    __slots__ = (
        "_by_path_class",
        "_counts",
        "after",
        "claims",
        "compiled",
        "document_verdicts",
        "in_force",
        "paths",
        "targets",
        "undecidable",
        "unread",
    )

    def __init__(
        self,
        compiled: CompiledPolicy,
        counts: Callable[[Verdict], LocalCounts],
        in_force: PolicyInForce | None = None,
    ) -> None:
        self.compiled = compiled
        self._counts = counts
        self.in_force = in_force
        self.claims = compiled.guard.claims
        table = compiled.guard.table
        self.paths: BoundedCache[str, ResolvedPath] = BoundedCache(
            lambda path: self._resolve(path, table.path_classes[path])
        )
        self.targets: BoundedCache[tuple[bytes, ...], ResolvedPath] = BoundedCache(self._resolve_target)
        self.after: BoundedCache[Verdict, CachedDecision] = BoundedCache(
            lambda verdict: CachedDecision(compiled, verdict, counts(verdict), self.in_force)
        )
        self._by_path_class: BoundedCache[PathClass, BoundedCache[Claim, CachedDecision]] = BoundedCache(
            lambda path_class: BoundedCache(lambda claim: self._decision(claim, path_class))
        )
        self.document_verdicts: BoundedCache[Agent | None, Verdict] = BoundedCache(self._document_verdict)
        self.undecidable = self.fixed(compiled.policy.on_unknown, "the guard failed")
        self.unread = self._resolve("/", table.unread())

    def of_work(self, resolved: ResolvedPath, number: int) -> ResolvedPath:
        """Return a path whose works were asked about, as it is under the wishes with that number."""
        found = resolved.wished.get(number)
        if found is None:
            path_class = self.compiled.guard.table.wished(resolved.path_class, number)
            found = replace(resolved, path_class=path_class, decisions=self._by_path_class[path_class], works=())
            resolved.wished[number] = found
        return found

    def _resolve_target(self, raw_paths: tuple[bytes, ...]) -> ResolvedPath:
        path = unquote_to_bytes(raw_paths[0]).decode("utf-8", "replace")
        return self._resolve(path, self.compiled.guard.table.target_classes[raw_paths], raw_paths)

    def _resolve(self, path: str, path_class: PathClass, raw_paths: tuple[bytes, ...] = ()) -> ResolvedPath:
        asks = self.compiled.policy.creators.asked
        works = self.compiled.guard.table.works_of(raw_paths or (path,)) if asks else ()
        documents, path = self.compiled.documents, normal_path(path)
        published = next((at for at in documents if path.endswith(at)), "")
        decisions = self._by_path_class[path_class]
        root = path.removesuffix(published)
        return ResolvedPath(path, documents.get(published), root, path_class, decisions, works)

    def _decision(self, claim: Claim, path_class: PathClass) -> CachedDecision:
        guard = self.compiled.guard
        verdict = guard.table.verdict(claim, path_class)
        needs = guard.needs(claim, path_class)
        return CachedDecision(self.compiled, verdict, self._counts(verdict), self.in_force, path_class, needs)

    def _document_verdict(self, agent: Agent | None) -> Verdict:
        """Return what an event says of a request for a declaration, which is not judged."""
        identity = Identity.UNCLAIMED if agent is None or agent in UNCLAIMED_AGENTS else Identity.UNVERIFIED
        usage = agent.usages[0] if agent else None
        whole_site = self.compiled.policy.whole_site
        return Verdict(Action.ALLOW, "declaration", agent, usage, identity, (_FOR_EVERYONE,), whole_site)

    def fixed(self, action: Action, reason: str) -> Decided:
        """Return the outcome for requests that cannot be judged; made up front so that the error path cannot fail."""
        enforced = self.compiled.policy.mode is Mode.ENFORCE
        verdict = Verdict(
            action, "unjudged", None, None, Identity.UNCLAIMED, (reason,), self.compiled.policy.whole_site, enforced
        )
        cached = CachedDecision(self.compiled, verdict, self._counts(verdict), self.in_force)
        return Decided(cached, self.compiled.refusal(verdict, "/", "GET", ()) if verdict.refuses else None)
