"""/ai.txt of Spawning (2023): the whole site closed to training, kind of file by kind of file.

Off unless a policy asks for it: Spawning's own page about it is under maintenance (2026-11), and other projects
use the same name for something else.
"""

from collections.abc import Iterator, Sequence

from noai_guard.core.model import Document, Usage
from noai_guard.core.policy import DecisionTable, Policy
from noai_guard.declarations.shared.standard import Standard

PATH = "/ai.txt"

_ENDINGS = (
    *("aac", "aiff", "amr", "flac", "m4a", "mp3", "oga", "opus", "wav", "wma"),
    *("txt", "pdf", "doc", "docx", "gif", "jpeg", "jpg", "png", "svg", "webp", "avi", "mov", "mp4", "webm"),
)
"""The audio endings are those of Spawning's own files; then usual ones of text, pictures and video."""


def _documents(table: DecisionTable) -> Sequence[Document]:
    if not table.policy.whole_site.reserves(Usage.TRAIN_AI):
        return ()
    endings = "".join(f"Disallow: *.{ending}\n" for ending in _ENDINGS)
    text = f"# Spawning AI\nUser-Agent: *\n{endings}Disallow: /\nDisallow: *\n"
    return (Document(PATH, "text/plain; charset=utf-8", text.encode("ascii")),)


def _limitations(policy: Policy) -> Iterator[str]:
    site = policy.whole_site.reserves(Usage.TRAIN_AI)
    for path_policy in policy.path_policies:
        if path_policy.reserves(Usage.TRAIN_AI) is not site:
            says = "closes the whole site" if site else "is not published, because the whole site is open"
            yield f"ai.txt {says}: {path_policy.pattern} is otherwise, which only the other declarations say."


STANDARD = Standard("ai_txt", "ai.txt (Spawning)", documents=_documents, limitations=_limitations)
