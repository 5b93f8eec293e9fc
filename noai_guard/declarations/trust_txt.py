"""/trust.txt (JournalList): `datatrainingallowed`, and whom to ask. Off unless a policy asks for it."""

from collections.abc import Iterator, Sequence

from noai_guard.declarations.standard import Standard, training_only
from noai_guard.model import Document, Usage
from noai_guard.policy import Plan, Policy
from noai_guard.refusal import ascii_uri

PATH = "/trust.txt"


def _documents(plan: Plan) -> Sequence[Document]:
    """It has one bit for the site: no, when any part of it reserves training."""
    reserved = any(section.reserves(Usage.TRAIN_AI) for section in plan.sections)
    lines = [f"datatrainingallowed={'no' if reserved else 'yes'}"]
    if plan.policy.site.contact:
        lines.append(f"contact={ascii_uri(plan.policy.site.contact)}")
    return (Document(PATH, "text/plain; charset=utf-8", "\n".join([*lines, ""]).encode("ascii")),)


def _notes(policy: Policy) -> Iterator[str]:
    yield from training_only("trust.txt", policy)
    open_parts = [section.pattern for section in policy.all_sections if not section.reserves(Usage.TRAIN_AI)]
    if 0 < len(open_parts) < len(policy.all_sections):
        yield f"trust.txt has one word for the whole site: it says no, also of {', '.join(open_parts)}."


STANDARD = Standard("trust_txt", "trust.txt (JournalList)", documents=_documents, notes=_notes)
