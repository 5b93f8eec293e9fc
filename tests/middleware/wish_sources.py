"""Every source of wishes, as a site keeps it, behind a guard of each kind."""

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Protocol

from noai_guard.core.model import Usage
from noai_guard.core.wishes import WISHED_USAGES, Choice
from tests.middleware import asgi_kit, wsgi_kit

Wishes = Mapping[str, Mapping[Usage, Choice]]

POLICY = """
extends: no-training
usages: {train-ai: yes, data-broker: yes, scraper: yes}
site: {url: "https://band.example"}
works: ["/audio/{work}.mp3", "/hls/{work}/**"]
"""


class Source(Protocol):
    """Keeps wishes. `policy` are the lines for a policy, `options` those for the middleware."""

    policy: str
    options: dict[str, Any]

    def set(self, wishes: Wishes) -> None: ...


class CataloguedWishes:
    """A catalogue beside the policy, always replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "catalogue.csv"
        self.policy = "wishes: catalogue.csv\n"
        self.options: dict[str, Any] = {}

    def set(self, wishes: Wishes) -> None:
        lines = [",".join(("work", *WISHED_USAGES))]
        for work, choices in wishes.items():
            lines.append(",".join((work, *(choices.get(usage, "") for usage in WISHED_USAGES))))
        self.write("\n".join(lines) + "\n")

    def write(self, text: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.file)


class WishesInDatabase:
    """The table of the page for creators."""

    def __init__(self, address: str, named: str = "") -> None:
        # Only where the extra is installed.
        from noai_guard.stores.wish_table import WishTable

        self.table = WishTable.at(address)
        self.policy = f"wishes: {named or address}\n"
        self.options: dict[str, Any] = {}
        self._known: set[str] = set()

    def set(self, wishes: Wishes) -> None:
        from noai_guard.stores.wish_table import Row

        now = datetime.now(UTC)
        rows = [
            Row("ines", work, wishes.get(work, {}).get(usage, Choice.UNSET), usage, set_at=now, since=date(2026, 1, 1))
            for work in self._known | wishes.keys()
            for usage in WISHED_USAGES
        ]
        self._known |= wishes.keys()
        self.table.add(rows)
        self.table.close()


class AskedFunction:
    """A function of the platform."""

    policy = ""

    def __init__(self, *, is_async: bool) -> None:
        self.wishes: Wishes = {}
        self.asked: list[str] = []
        self.options: dict[str, Any] = {"wishes": self.awaited if is_async else self.called}

    def set(self, wishes: Wishes) -> None:
        self.wishes = wishes

    def called(self, work: str) -> Mapping[Usage, Choice] | None:
        self.asked.append(work)
        return self.wishes.get(work)

    async def awaited(self, work: str) -> Mapping[Usage, Choice] | None:
        return self.called(work)


class Site:
    """A guarded site on one source. `answers` gives status, rule and the declared reservation of a request."""

    def __init__(self, kind: str, source: Source, folder: Path, more: str = "") -> None:
        self.source = source
        file = folder / "noai.yaml"
        file.write_text(POLICY + source.policy + more)
        self.kind = kind
        if kind == "asgi":
            from prometheus_client import CollectorRegistry

            from noai_guard import NoAIMiddleware

            app = asgi_kit.answering()
            self.guard: Any = NoAIMiddleware(app, file, registry=CollectorRegistry(), **source.options)
        else:
            from prometheus_client import CollectorRegistry

            from noai_guard import NoAIWSGIMiddleware

            self.guard = NoAIWSGIMiddleware(_wsgi_app, file, registry=CollectorRegistry(), **source.options)

    @property
    def runtime(self) -> Any:
        return self.guard.runtime

    def answer(self, path: str, user_agent: bytes = asgi_kit.SCRAPER) -> tuple[int, str]:
        """Return the status and what tdm-reservation says."""
        if self.kind == "asgi":
            exchange = asgi_kit.ask(self.guard, asgi_kit.http(path, user_agent))
            said = dict(exchange.headers).get(b"tdm-reservation", b"").decode()
            return exchange.status, said
        environ = wsgi_kit.http(path, user_agent)
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> Callable[[bytes], object]:
            started.append((status, headers))
            return lambda chunk: None

        list(self.guard(environ, start))
        status, headers = started[-1]
        return int(status[:3]), dict(headers).get("tdm-reservation", "")

    def waits_for(self, condition: Callable[[], bool], seconds: float = 30.0) -> float:
        """Look for changes until a condition holds, and return how long that took."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() - started < seconds, "it never came true"
            time.sleep(0.02)
        return time.monotonic() - started

    def close(self) -> None:
        self.runtime.close()


def _wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", "5")])
    return [b"hello"]
