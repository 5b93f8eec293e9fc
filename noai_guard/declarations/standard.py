"""The shape of a declaration standard."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from noai_guard.model import Document, HeaderField
from noai_guard.policy import Plan, Policy, Section


def _no_documents(plan: Plan) -> Sequence[Document]:
    return ()


def _no_fields(policy: Policy, section: Section) -> Sequence[HeaderField]:
    return ()


def _no_tags(policy: Policy, section: Section) -> Sequence[bytes]:
    return ()


def _no_lines(policy: Policy) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Standard:
    """One way to declare a reservation; what a standard does not have stays at its default.

    `key` is its switch under `declarations:` in the policy. `documents` gives files of the site,
    `header_fields` lines for each response of a section (each is sent on a line of its own), `tags` elements
    for the head of HTML pages (bytes, ASCII), `robots_lines` lines repeated in every group of robots.txt; comments
    among them stand once, on top. `notes` are sentences for `check` about what it cannot say of this policy.
    """

    key: str
    title: str
    documents: Callable[[Plan], Sequence[Document]] = _no_documents
    header_fields: Callable[[Policy, Section], Sequence[HeaderField]] = _no_fields
    tags: Callable[[Policy, Section], Sequence[bytes]] = _no_tags
    robots_lines: Callable[[Policy], Sequence[str]] = _no_lines
    notes: Callable[[Policy], Iterable[str]] = _no_lines
