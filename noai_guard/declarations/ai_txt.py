"""/ai.txt of Spawning (2023): training denied for the whole site, with a line for each type of file.

Off unless a policy turns it on: Spawning's own page about it is under maintenance (2026-11), and other projects
use the same name for something else.
"""

from collections.abc import Iterator, Sequence

from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Document, Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations.shared.standard import Standard

PATH = "/ai.txt"

_SUFFIXES = (
    *("aac", "aiff", "amr", "flac", "m4a", "mp3", "oga", "opus", "wav", "wma"),
    *("txt", "pdf", "doc", "docx", "gif", "jpeg", "jpg", "png", "svg", "webp", "avi", "mov", "mp4", "webm"),
)
"""The audio suffixes are those of Spawning's own files; then usual ones of text, pictures and video."""


def _documents(table: DecisionTable) -> Sequence[Document]:
    if not table.policy.whole_site.reserves(Usage.TRAIN_AI):
        return ()
    rules = "".join(f"Disallow: *.{suffix}\n" for suffix in _SUFFIXES)
    text = f"# Spawning AI\nUser-Agent: *\n{rules}Disallow: /\nDisallow: *\n"
    return (Document(PATH, "text/plain; charset=utf-8", text.encode("ascii")),)


def _limitations(policy: Policy) -> Iterator[str]:
    site_reserves = policy.whole_site.reserves(Usage.TRAIN_AI)
    for path_policy in policy.path_policies:
        if path_policy.reserves(Usage.TRAIN_AI) is not site_reserves:
            effect = "denies training on the whole site" if site_reserves else "is not published"
            yield f"ai.txt {effect}: only the other declarations express that {path_policy.pattern} differs."


STANDARD = Standard("ai_txt", "ai.txt (Spawning)", documents=_documents, limitations=_limitations)
