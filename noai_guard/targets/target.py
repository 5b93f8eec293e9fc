"""The shape of an edge target: another server that a policy is compiled for."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from noai_guard.core.model import Document
from noai_guard.responses.documents import document_file
from noai_guard.targets.plan import TargetPlan, limitations
from noai_guard.version import __version__


class Feature(StrEnum):
    """What a server's configuration may be able to do."""

    HEADERS = "declarations on every response, errors too"
    LINES = "two header lines of one name"
    OWN = "the site's own Content-Usage and tdm-reservation stand alone"
    DOCUMENTS = "robots.txt and the other documents served"
    REFUSALS = "refusals by agent, with their status"
    BODIES = "the refusal's own text and headers"
    PATHS = "wishes by path"
    ADDRESSES = "exempt addresses"
    MONITOR = "monitor mode: nobody is refused, the verdict is passed on"
    VERDICT = "a header to the backend with the verdict"


@dataclass(frozen=True, slots=True)
class File:
    """One file to be written; `path` is relative to the output folder."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """A server. `render(plan, root)` gives its files; `root` is where the output folder will be on the server.

    `proof` says how it was tested: by sending every sample to the running server, by a schema only, or not at all.
    `notes` gives sentences on what this server cannot do of a plan beyond a feature that is missing in `supports`.
    """

    key: str
    title: str
    supports: frozenset[Feature]
    render: Callable[[TargetPlan, str], Sequence[File]]
    proof: Literal["server", "schema", "unchecked"] = "server"
    notes: Callable[[TargetPlan], Iterable[str]] = lambda plan: ()

    def cannot_express(self, plan: TargetPlan) -> Iterator[str]:
        """What of this policy the server cannot do: sentences for the person who wrote it."""
        yield from limitations(plan)
        missing = {
            Feature.LINES: _repeats_a_name(plan),
            Feature.OWN: True,
            Feature.DOCUMENTS: bool(plan.documents),
            Feature.BODIES: _refuses(plan),
            Feature.PATHS: bool(plan.path_sets),
            Feature.ADDRESSES: bool(plan.exempt_networks),
            Feature.VERDICT: True,
        }
        for feature, asked in missing.items():
            if asked and feature not in self.supports:
                yield f"{self.title} cannot do this: {feature}."
        yield from self.notes(plan)


def _repeats_a_name(plan: TargetPlan) -> bool:
    names = [[name for name, _ in declared.fields] for _, declared in plan.declared]
    return any(len(set(found)) < len(found) for found in names)


def _refuses(plan: TargetPlan) -> bool:
    classes = (*plan.classes, plan.unclaimed, plan.unknown_bot)
    return any(decision.status for found in classes for decision in found.decisions)


def head(plan: TargetPlan, target: str) -> str:
    """The first line of every generated file, without a comment sign. Says nothing that changes by itself."""
    return (
        f"noai-guard {__version__}, stance {plan.policy.stance}, mode {plan.policy.mode}. Generated: do not edit, "
        f"write it again with: noai-guard edge {target}"
    )


def document_files(plan: TargetPlan, folder: str) -> list[File]:
    """The documents as files below a folder, at the same paths as on the site."""
    return [File(f"{folder}/{document_file(document)}", document.body) for document in plan.documents]


def safe_document_files(plan: TargetPlan, folder: str) -> list[tuple[Document, File]]:
    """As `document_files`; where a path has signs that servers read differently, the file has a number for a name."""
    found = []
    for number, document in enumerate(plan.documents, 1):
        path = document_file(document)
        safe = path if re.fullmatch(r"[A-Za-z0-9._/-]+", path) else f"document-{number}"
        found.append((document, File(f"{folder}/{safe}", document.body)))
    return found
