"""What is known in advance about a request: by its path, and by its agent there."""

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.model import Action, Agent, Document, Response, Verdict
from noai_guard.core.policy import PathClass
from noai_guard.observability.counters import LocalCounts


class CachedDecision:
    """Everything known in advance about one agent in one zone of the site.

    `settled`: the verdict is final, nothing needs to be asked. `plain`: let in, with nothing to note.
    """

    __slots__ = ("counts", "declared", "plain", "settled", "verdict")

    def __init__(self, compiled: CompiledPolicy, verdict: Verdict, counts: LocalCounts) -> None:
        self.verdict = verdict
        self.settled = not compiled.guard.asks(verdict)
        self.plain = verdict.action is Action.ALLOW
        self.counts = counts
        self.declared = compiled.declared[verdict.path_policy]


class ResolvedPath:
    """Everything known in advance about one path, as the server hands it over.

    `document` is what is published there, provided that the app is mounted at `root`.
    """

    __slots__ = ("decisions", "document", "path", "path_class", "root")

    def __init__(
        self,
        path: str,
        document: Document | None,
        root: str,
        path_class: PathClass,
        decisions: BoundedCache[Agent | None, CachedDecision],
    ) -> None:
        self.path = path
        self.document = document
        self.root = root
        self.path_class = path_class
        self.decisions = decisions

    def publishes(self, method: str, root_path: str) -> bool:
        """Whether a request is for the document: at the root of the host, or of an app mounted below it."""
        root = self.root
        return self.document is not None and method in ("GET", "HEAD") and (not root or root == root_path.rstrip("/"))


class ServeDocument:
    """What became of a request for a document: it is to be sent, to everyone. `front` was in force."""

    __slots__ = ("compiled", "document", "user_agent")

    def __init__(self, compiled: CompiledPolicy, document: Document, user_agent: bytes) -> None:
        self.compiled = compiled
        self.document = document
        self.user_agent = user_agent


class Decided:
    """What became of any other request: `refusal` is to be sent, or, without one, the request is let in.

    `lasts`: every request of this user agent, client address and `zone` gets the same until the policy changes.
    """

    __slots__ = ("cached", "lasts", "path_class", "refusal", "user_agent")

    def __init__(
        self,
        cached: CachedDecision,
        refusal: Response | None,
        user_agent: bytes,
        lasts: bool,
        path_class: PathClass | None,
    ) -> None:
        self.cached = cached
        self.refusal = refusal
        self.user_agent = user_agent
        self.lasts = lasts
        self.path_class = path_class
