"""/trust.txt (JournalList): `datatrainingallowed` and `contact`. Off unless a policy turns it on."""

from collections.abc import Iterator, Sequence

from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Document, Usage
from noai_guard.core.policy import Policy
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.declarations.shared.standard import Standard, training_only_limitations

PATH = "/trust.txt"


def _documents(table: DecisionTable) -> Sequence[Document]:
    # One bit for the whole site: no if any part of it reserves training.
    text = f"datatrainingallowed={'no' if table.policy.reserves(Usage.TRAIN_AI) else 'yes'}\n"
    if contact := table.policy.site.contact:
        text += f"contact={ascii_uri(contact)}\n"
    return (Document(PATH, "text/plain; charset=utf-8", text.encode("ascii")),)


def _limitations(policy: Policy) -> Iterator[str]:
    yield from training_only_limitations("trust.txt", policy)
    parts = policy.all_path_policies
    open_parts = ", ".join(part.pattern for part in parts if not part.reserves(Usage.TRAIN_AI))
    if open_parts and policy.reserves(Usage.TRAIN_AI):
        yield f"trust.txt has one word for the whole site: training is denied, also for {open_parts}."


STANDARD = Standard("trust_txt", "trust.txt (JournalList)", documents=_documents, limitations=_limitations)
