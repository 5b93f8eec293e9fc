"""Artists decide: one keeps an album from all AI, another lets theirs be trained on, and everything that the site says,
does and writes down follows."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from examples.demo.artists_site import (
    CLOSED,
    EXPECTED,
    OPEN,
    REFUSAL,
    SEARCHBOT,
    UNDECIDED,
    ArtistsSite,
    fetched,
    paths_of,
    said,
)
from examples.demo.promises import Scene
from examples.demo.site import Site
from examples.music_site import label, shelf
from noai_guard.record.ledger_files import read_document, read_ledger
from noai_guard.tagging import readback

_PATIENCE = 60.0
"""Seconds to wait for what takes two on an idle machine."""


def scenes(folder: Path) -> Iterator[Scene]:
    """Yield what happens at a site of its own, in a folder, whose artists have a page of their own."""
    site = ArtistsSite.begun(folder)
    apps: list[Any] = []

    def create(_: Any, url: str) -> Any:
        apps.append(site.app(url))
        return apps[0]

    with Site(create, 0) as running:
        url = running.url
        yield from _choice(site, url)
        for artist, expected in EXPECTED.items():
            found = {each for work in label.by_artist(artist) for each in said(url, work)}
            words = " / ".join(sorted(each.words for each in found))
            yield Scene(f"{artist.name}: {words}.", found == {expected})
        yield from _tags(site)
        apps[0].runtime.recorder.flush()
        yield from _record(site, url)
    apps[0].runtime.close()
    yield from _ledger(site)


def _choice(site: ArtistsSite, url: str) -> Iterator[Scene]:
    work = label.by_artist(CLOSED)[0]
    before = fetched(url + paths_of(work)[0], SEARCHBOT)[0]
    yield Scene(f"AI search comes for {work.title}, as the site allows: {before}.", before == 200)
    added = site.link_of(CLOSED)(url, "/wishes", method="PUT", data=REFUSAL)["added"]
    begun = time.monotonic()
    status = _awaited(lambda: fetched(url + paths_of(work)[0], SEARCHBOT)[0] == 403)
    yield Scene(
        f"{CLOSED.name} says no to every AI use on the page for creators ({added} choices); AI search is refused "
        f"{time.monotonic() - begun:.1f} s later.",
        status,
    )
    coming = site.link_of(UNDECIDED)(url, "/wishes", method="PUT", data={"work": "*", "wishes": {"train-ai": "allow"}})[
        "usages"
    ]["train-ai"]["coming"]
    yield Scene(
        f"{UNDECIDED.name} allows training from now on: written down today, holds from {coming['since']}.",
        coming["since"] > f"{datetime.now(UTC):%Y-%m-%d}",
    )


def _tags(site: ArtistsSite) -> Iterator[Scene]:
    """Tag copies of the recordings, and read what stands in them."""
    audio = site.folder / "public" / "audio"
    audio.mkdir(parents=True)
    for slug, recording in shelf.fill().recordings.items():
        shutil.copy(recording.audio, audio / f"{slug}.wav")
    summary = site.typed("tag", "public/audio", "--root", "public").splitlines()[-1]
    yield Scene(f"noai-guard tag public/audio --root public: {summary}.", summary == f"{len(label.TRACKS)} tagged")
    for artist, expected in EXPECTED.items():
        files = [audio / f"{work.slug}.wav" for work in label.by_artist(artist)]
        found = {values["CONTENT-USAGE"] for values in (readback.found(file, "WAV") for file in files)}
        yield Scene(f"Tags in the files of {artist.name}: {', '.join(sorted(found))}.", found == {expected.usage})


def _record(site: ArtistsSite, url: str) -> Iterator[Scene]:
    """Compare the report with what the artists see on their page."""
    month = f"{datetime.now(UTC):%Y-%m}"
    report = json.loads(site.typed("report", "--since", month, "--operator", "OpenAI", "--format", "json"))
    figures = {row["work"]: row for row in report["works"]}
    for artist, is_refused in ((CLOSED, True), (OPEN, False)):
        rows = [figures[work.slug] for work in label.by_artist(artist)]
        events, refused = (sum(row[name] for row in rows) for name in ("events", "refused"))
        yield Scene(
            f"noai-guard report: OpenAI asked {events} times for works of {artist.name}, {refused} were refused.",
            refused > 0 if is_refused else (refused, events > 0) == (0, True),
        )
        exported = _exported(site.link_of(artist), url)
        visitors = exported["visits"]["visitors"] if exported["visits"] else ()
        counted = sum(each["refused"] for each in visitors if each["operator"] == "OpenAI")
        yield Scene(
            f"The page of {artist.name} counts {counted} refused, and exports {len(exported['history'])} choices.",
            counted == refused and any(row["usage"] for row in exported["history"]),
        )


def _exported(ask: Callable[..., Any], url: str) -> Any:
    """Return all that the page knows of an artist, once it has counted who came."""
    return _awaited(lambda: (exported := ask(url, "/export"))["visits"] and exported) or ask(url, "/export")


def _ledger(site: ArtistsSite) -> Iterator[Scene]:
    """Publish, and look for the works in what the ledger keeps of the documents."""
    printed = site.typed("ledger", "publish", "--author", label.NAME)
    ledger = read_ledger(site.folder / "noai-ledger")
    entry = ledger.head
    kept = json.loads(
        read_document(ledger, entry.declarations["documents"]["/.well-known/tdmrep.json"]["sha256"]) or b"[]"
    )
    reserved = {each["location"]: each["tdm-reservation"] for each in kept}
    works = [(f"{path}$", EXPECTED[artist].tdmrep) for artist in (CLOSED, OPEN) for work in label.by_artist(artist)
             for path in paths_of(work)]  # fmt: skip
    yield Scene(
        f"noai-guard ledger publish: entry {entry.number}, {'; '.join(entry.changes)}.",
        "0002.json" in printed and all(reserved.get(location) == value for location, value in works),
    )
    again = site.typed("ledger", "publish", "--author", label.NAME).strip()
    yield Scene(f"Once more: {again}.", again.startswith("nothing to publish"))


def _awaited(found: Callable[[], Any]) -> Any:
    """Return what is found once it is true, or what is false when patience is over."""
    deadline = time.monotonic() + _PATIENCE
    while not (result := found()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return result
