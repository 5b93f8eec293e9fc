"""Who answers which of the judge's questions: the same for every driver."""

from typing import Any

from noai_guard.core.identity.reverse_dns import HostName
from noai_guard.core.identity.signing_keys import SigningKey
from noai_guard.core.questions import STORE_QUESTIONS, Question, Store
from noai_guard.core.wishes import WishOf
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.stores.asked_wishes import AwaitedWishes, BlockingWishes
from noai_guard.stores.key_directory import AwaitedKeyDirectory
from noai_guard.stores.reverse_dns import AwaitedReverseDns, ReverseDns
from noai_guard.stores.router import AsyncRouter, Route, Router


def awaited_routes(runtime: GuardRuntime, names: ReverseDns | None, deadline: float) -> AsyncRouter:
    """Return the router of a driver that awaits answers, each for at most `deadline` seconds."""
    asked: dict[type[Question[Any]], Route] = (
        {WishOf: Route(AwaitedWishes(runtime.asked), deadline)} if runtime.asked is not None else {}
    )
    return AsyncRouter(
        {
            **asked,
            **dict.fromkeys(STORE_QUESTIONS, Route(runtime.store.awaited, deadline)),
            HostName: Route(AwaitedReverseDns(names or ReverseDns()), deadline),
            SigningKey: Route(AwaitedKeyDirectory(runtime.keys), deadline),
        }
    )


def blocking_routes(runtime: GuardRuntime, names: ReverseDns | None, deadline: float = 0.5) -> Router:
    """Return the router of a driver that blocks a thread until it has an answer; `deadline` is for wishes alone."""
    asked: dict[type[Question[Any]], Store] = (
        {WishOf: BlockingWishes(runtime.asked, deadline)} if runtime.asked is not None else {}
    )
    return Router(
        {
            **asked,
            **dict.fromkeys(STORE_QUESTIONS, runtime.store),
            HostName: names or ReverseDns(),
            SigningKey: runtime.keys,
        }
    )
