"""Refusals of one agent, for tests."""

from collections.abc import Sequence
from dataclasses import replace

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Agent, HeaderField, Identity, PathPolicy, Response, Usage, Verdict
from noai_guard.core.policy import Site

STANCE = load_stance("no-ai")
BOT = Agent("TrainBot", "Example Inc", (Usage.TRAIN_AI,), ("TrainBot",))
NO_FACTS = Site()
SITE = Site(
    "https://band.example/", "", "Band", "mailto:%C3%A4@b%C3%A4nd.example", licence="https://band.example/licence"
)
TEXT: list[HeaderField] = []
JSON = [(b"accept", b"application/json")]
HTML = [(b"accept", b"text/html,*/*")]


def refusal(
    action: Action,
    agent: Agent | None = BOT,
    site: Site = NO_FACTS,
    message: str = "",
    headers: Sequence[HeaderField] = TEXT,
    retry_after: int = 60,
    path_policies: tuple[PathPolicy, ...] = (),
) -> Response:
    compiled = CompiledPolicy(replace(STANCE, site=site, path_policies=path_policies), Catalog((BOT,)))
    usage = Usage.TRAIN_AI if agent is BOT else (Usage.UNKNOWN_BOT if agent else None)
    verdict = Verdict(action, "train-ai", agent, usage, Identity.UNVERIFIED, (), compiled.policy.all_path_policies[-1],
                      retry_after=retry_after if action is Action.THROTTLE else 0, message=message)  # fmt: skip
    return compiled.refusal(verdict, "/tracks/a", "GET", headers)
