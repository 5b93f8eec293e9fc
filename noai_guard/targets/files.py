"""Generated files from lines or data."""

import json
from collections.abc import Iterable

from noai_guard.targets.target import File


def text_file(path: str, lines: Iterable[str]) -> File:
    return File(path, "".join(f"{line}\n" for line in lines).encode("utf-8"))


def json_file(path: str, content: object) -> File:
    return File(path, json.dumps(content, indent=1, ensure_ascii=False).encode("utf-8") + b"\n")
