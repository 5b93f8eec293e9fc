"""The shape of everything that configuration is generated for: servers, proxies that ask the gateway, static hosts."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Literal, Protocol, TypeVar

from noai_guard.core.model import Action, Document
from noai_guard.core.text import listed
from noai_guard.responses.documents import document_file
from noai_guard.targets import origins
from noai_guard.targets.plan import MAX_WORKS, TargetPlan
from noai_guard.targets.work_map import MAX_MAPPED, MAX_WISHES, WorkMap
from noai_guard.version import __version__

Setup = TypeVar("Setup")


class Feature(StrEnum):
    """Something that the configuration of a server may be able to do."""

    HEADERS = "declarations on every response, errors too"
    LINES = "two header lines of one name"
    OWN = "the site's own Content-Usage and tdm-reservation replace ours"
    DOCUMENTS = "robots.txt and the other documents served"
    REFUSALS = "refusals by agent, with their status"
    BODIES = "the refusal's own text and headers"
    PATHS = "rules and declarations by path"
    ADDRESSES = "exempt addresses"
    MONITOR = "monitor mode: nobody is refused, the verdict is passed on"
    VERDICT = "a header to the backend with the verdict"
    ORIGINS = "networks and header fields as conditions"
    NAMELESS = "clients without a name"


USUAL = frozenset(Feature) - {Feature.ORIGINS, Feature.NAMELESS}
"""What most servers can do."""


@dataclass(frozen=True, slots=True)
class File:
    """One file to be written.

    `path` is relative to the output folder; `note` tells the operator what the file is, or where it is included.
    """

    path: str
    content: bytes
    note: str = ""


@dataclass(frozen=True, slots=True)
class Target(Generic[Setup]):
    """Something that configuration is generated for, from a `Setup`.

    `render(setup, root)` returns the files; `root` is the folder on the server that they will stand in. It raises
    CannotExpress where the result would not be safe. `specific_limitations(setup)` yields what this target alone
    cannot do of a policy, as sentences for its author. `options` are those options of the command that not every target
    has, but this one does.
    """

    key: str
    title: str
    render: Callable[[Setup, str], Sequence[File]]
    specific_limitations: Callable[[Setup], Iterable[str]] = lambda setup: ()
    options: frozenset[str] = field(default=frozenset(), kw_only=True)

    def limitations(self, setup: Setup) -> Iterator[str]:
        """Yield everything that the generated configuration cannot do of the policy."""
        yield from self.specific_limitations(setup)


@dataclass(frozen=True, slots=True)
class ServerTarget(Target[TargetPlan]):
    """A server that carries the policy out itself, without noai-guard running.

    `proof` says how it was tested: by sending every sample to the running server, or by a schema only. `max_networks`
    are those of one condition that the server can look up; None if it has an index for any number. `maps_works`: it
    looks works up by name, if its plan has them.
    """

    supports: frozenset[Feature] = USUAL
    max_networks: int | None = None
    proof: Literal["server", "schema"] = "server"
    maps_works: bool = False

    def limitations(self, setup: TargetPlan) -> Iterator[str]:
        """Yield what no server can do of the policy, the features that this one lacks, and what it alone cannot do."""
        if Feature.DOCUMENTS in self.supports:
            yield from (note for document in setup.documents for note in document.notes)
        decisions = [decision for agents in setup.all_classes for decision in agents.decisions]
        if any(decision.verdict.action is Action.THROTTLE for decision in decisions):
            allowed = "throttled agents are allowed, and the backend gets the verdict"
            yield f"throttle: requests are not counted here; {allowed}."
        if setup.works:
            yield from _limitations_of_works(setup.works)
        elif setup.compiled.unnamed_works:
            yield (
                f"wishes of creators: {MAX_WORKS} works at most have a section here; on the paths of the others the "
                "configuration refuses what any creator disallows. Ask the gateway (--ask-gateway): it knows all works."
            )
        elif setup.creators_decide:
            yield "wishes of creators: those of today; generate the files again after a change, or ask the gateway."
        if setup.policy.second_look:
            yield "second_look: user agents are recognised by name only."
        if setup.policy.partners:
            names = listed([partner.name for partner in setup.policy.partners])
            yield f"partners ({names}): no proof is checked here, so they are refused; ask the gateway (--ask-gateway)."
        if any(part.reserves_anything for part in setup.parts):
            yield "HTML metas: pages are not changed; the header fields declare the same."
        needed = {
            Feature.LINES: any(len(dict(declared.fields)) < len(declared.fields) for _, declared in setup.declared),
            Feature.OWN: True,
            Feature.DOCUMENTS: bool(setup.documents),
            Feature.BODIES: any(decision.status for decision in decisions),
            Feature.PATHS: bool(setup.path_sets),
            Feature.ADDRESSES: bool(setup.exempt_networks),
            Feature.VERDICT: True,
            Feature.NAMELESS: setup.nameless.restricted,
        }
        for feature, is_needed in needed.items():
            if is_needed and feature not in self.supports:
                yield f"{self.title} cannot do this: {feature}."
        yield from origins.limitations(setup, Feature.ORIGINS in self.supports, self.max_networks)
        yield from self.specific_limitations(setup)


def _limitations_of_works(works: WorkMap) -> Iterator[str]:
    yield (
        f"wishes of creators: those of today, looked up by name (works here: {works.works:,}; room: {MAX_MAPPED:,}). "
        "Write the files again and reload the server by a timer: a stricter wish holds here from then on. The gateway "
        "(--ask-gateway) follows within seconds."
    )
    if works.shared:
        yield (
            f"wishes of creators: {works.shared:,} works are treated more strictly than their creators wish, because "
            "names here differ neither in letter case nor in the form of an accent, and a server has room for "
            f"{MAX_WISHES} different wishes."
        )


def head(plan: TargetPlan, target: str) -> str:
    """Return the first line of every generated file, without a comment sign. Holds no date, so that equal policies
    give equal files."""
    return (
        f"noai-guard {__version__}, stance {plan.policy.stance}, mode {plan.policy.mode}. "
        f"Generated by `noai-guard config {target}{plan.arguments}`: run it again instead of editing this file."
    )


def block(head: str, lines: Iterable[str], indent: str = "    ") -> Iterator[str]:
    """Yield `head {`, the lines, indented, and `}`."""
    yield f"{head} {{"
    yield from (f"{indent}{line}" for line in lines)
    yield "}"


def text_file(path: str, lines: Iterable[str]) -> File:
    return File(path, "".join(f"{line}\n" for line in lines).encode("utf-8"))


def json_file(path: str, content: object) -> File:
    return File(path, json.dumps(content, indent=1, ensure_ascii=False).encode("utf-8") + b"\n")


def document_files(plan: TargetPlan, folder: str) -> list[File]:
    """Return the documents as files below a folder, at the same paths as on the site."""
    return [File(f"{folder}/{document_file(document)}", document.body) for document in plan.documents]


class Publishing(Protocol):
    """A plan or setup with documents to be served."""

    @property
    def documents(self) -> Sequence[Document]: ...


def safe_document_files(plan: Publishing, folder: str) -> list[tuple[Document, File]]:
    """Return the documents and their files; a path with characters that servers read differently becomes a number."""
    files = []
    for number, document in enumerate(plan.documents, 1):
        path = document_file(document)
        safe = path if re.fullmatch(r"[A-Za-z0-9._/-]+", path) else f"document-{number}"
        files.append((document, File(f"{folder}/{safe}", document.body)))
    return files
