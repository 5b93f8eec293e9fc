"""What a site promised, and when it may promise less: a policy is loosened, announced, and takes effect on its day; the
ledger proves it, and a copy that was tampered with is caught."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from xml.etree import ElementTree

from prometheus_client import CollectorRegistry

from examples.demo.proofs import tracks
from examples.demo.site import Site
from noai_guard import NoAIMiddleware
from noai_guard.config import catalog_of, load_policy
from noai_guard.core.promised import HISTORY_PATH
from noai_guard.record.ledger import iso
from noai_guard.record.ledger_files import read_ledger
from noai_guard.record.ledger_keys import SigningKey, new_key
from noai_guard.record.publishing import Signing, draft, publish
from noai_guard.record.verification import problems_of

_GPTBOT = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)"
_PATH = "/press/kit"
_BEFORE = "paths: {/press/**: {usages: {ai-search: no}}}\n"
_AFTER = "paths: {/press/**: {usages: {train-ai: yes}}}\n"
_LEDGER = "ledger: {folder: noai-ledger, notice: 30}\n"
_AUTHOR = "Ines Rivera, Night Ferry Records"


@dataclass(frozen=True, slots=True)
class Scene:
    """One thing that happened, in words, and whether it is what should happen."""

    line: str
    holds: bool


def scenes(folder: Path) -> Iterator[Scene]:
    """Yield what happens at a site of its own, with its policy and its ledger in a folder, and a clock set by hand."""
    today = datetime.now(UTC).replace(microsecond=0)
    file, book, key = folder / "noai.yaml", folder / "noai-ledger", new_key(folder / "noai-ledger.key")
    file.write_text(_BEFORE + _LEDGER)
    _publish(file, book, key, today - timedelta(days=1))
    guard = NoAIMiddleware(tracks, file, registry=CollectorRegistry())
    with _heard() as log, Site(lambda policy, url: guard, 0) as site:
        yield Scene(f"GPTBot asks for {_PATH}: {_status(site)}, as promised.", _status(site) == 403)
        file.write_text(_AFTER + _LEDGER)
        guard.runtime.reload()
        yield Scene(
            f"noai.yaml lets training in there, and nobody was told: {_status(site)}, the stricter of both.",
            _status(site) == 403,
        )
        yield Scene(f"The log: {' '.join(log) or 'nothing'}", len(log) == 1)
        effective = _publish(file, book, key, today)
        guard.runtime.promises.look()
        announced = _newest(_get(site, f"{HISTORY_PATH}.atom"))
        yield Scene(f"noai-guard ledger publish; the feed announces: {announced}", "refused -> allowed" in announced)
        for moment, status in ((effective - timedelta(seconds=1), 403), (effective, 200)):
            guard.runtime.promises.clock = moment.timestamp
            guard.runtime.promises.look()
            yield Scene(f"{iso(moment)}: GPTBot gets {_status(site)}.", _status(site) == status)
        copy = folder / "noai-history.json"
        copy.write_bytes(_get(site, f"{HISTORY_PATH}.json"))
    guard.runtime.close()  # else it misses its ledger when the folder goes away
    yield from _verified(copy, key.name, today)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what the guard logs."""
    lines: list[str] = []
    log, handler = logging.getLogger("noai_guard"), logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)


def _verified(copy: Path, key: str, today: datetime) -> Iterator[Scene]:
    ledger = read_ledger(copy)
    problems = problems_of(ledger, key)
    said = "; ".join(problem.message for problem in problems) or f"{len(ledger.entries)} entries, whole and signed"
    yield Scene(f"Its public copy, verified: {said}.", not problems)
    data = json.loads(copy.read_text())
    data["entries"][1]["time"] = data["entries"][1]["effective"] = iso(today - timedelta(days=31))
    copy.write_text(json.dumps(data))
    caught = problems_of(read_ledger(copy), key)
    said = "; ".join(problem.message for problem in caught) or "nothing"
    yield Scene(f"A copy in which the announcement is a month older: {said}.", bool(caught))


def _publish(file: Path, book: Path, key: SigningKey, now: datetime) -> datetime:
    """Publish a policy as `noai-guard ledger publish` does, and return when what is looser in it takes effect."""
    policy = load_policy(file)
    catalog, ledger = catalog_of(policy), read_ledger(book) if book.exists() else None
    drafted = draft(policy, catalog, ledger, now)
    publish(book, policy, catalog, ledger, drafted, Signing(_AUTHOR, key, now))
    return drafted.effective


def _status(site: Site) -> int:
    try:
        with urlopen(Request(site.url + _PATH, headers={"User-Agent": _GPTBOT}), timeout=20) as response:
            return int(response.status)
    except HTTPError as error:
        with error:
            return error.code


def _get(site: Site, path: str) -> bytes:
    with urlopen(site.url + path, timeout=20) as response:
        body: bytes = response.read()
    return body


def _newest(feed: bytes) -> str:
    """Return what the newest entry of a feed says, on one line."""
    content = ElementTree.fromstring(feed).find(".//{http://www.w3.org/2005/Atom}content")
    return " ".join((content.text or "").split()) if content is not None else ""
