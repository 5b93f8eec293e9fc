"""What is known in advance about a request: by its path, and by its agent there."""

from noai_guard.front import Front
from noai_guard.memo import Memo
from noai_guard.model import Action, Agent, Document, Response, Verdict
from noai_guard.policy import Zone
from noai_guard.telemetry import Cell


class Standing:
    """Everything known in advance about one agent in one zone of the site.

    `settled`: the verdict is final, nothing needs to be asked. `plain`: let in, with nothing to note.
    """

    __slots__ = ("cell", "declared", "plain", "settled", "verdict")

    def __init__(self, front: Front, verdict: Verdict, cell: Cell) -> None:
        self.verdict = verdict
        self.settled = not front.guard.asks(verdict)
        self.plain = verdict.action is Action.ALLOW
        self.cell = cell
        self.declared = front.declared[verdict.section]


class Place:
    """Everything known in advance about one path, as the server hands it over.

    `document` is what is published there, provided that the app is mounted at `root`.
    """

    __slots__ = ("document", "path", "root", "standings", "zone")

    def __init__(
        self, path: str, document: Document | None, root: str, zone: Zone, standings: Memo[Agent | None, Standing]
    ) -> None:
        self.path = path
        self.document = document
        self.root = root
        self.zone = zone
        self.standings = standings

    def publishes(self, method: str, root_path: str) -> bool:
        """Whether a request is for the document: at the root of the host, or of an app mounted below it."""
        root = self.root
        return self.document is not None and method in ("GET", "HEAD") and (not root or root == root_path.rstrip("/"))


class Published:
    """What became of a request for a document: it is to be sent, to everyone. `front` was in force."""

    __slots__ = ("document", "front", "user_agent")

    def __init__(self, front: Front, document: Document, user_agent: bytes) -> None:
        self.front = front
        self.document = document
        self.user_agent = user_agent


class Judged:
    """What became of any other request: `refusal` is to be sent, or, without one, the request is let in.

    `lasts`: every request of this user agent, client address and `zone` gets the same until the policy changes.
    """

    __slots__ = ("lasts", "refusal", "standing", "user_agent", "zone")

    def __init__(
        self, standing: Standing, refusal: Response | None, user_agent: bytes, lasts: bool, zone: Zone | None
    ) -> None:
        self.standing = standing
        self.refusal = refusal
        self.user_agent = user_agent
        self.lasts = lasts
        self.zone = zone
