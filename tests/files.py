"""Files that something watches while a test changes them."""

from pathlib import Path


def replace_text(file: Path, text: str) -> None:
    """Replace a file at once.

    One that is written in place is seen empty by who looks in between, which counts as a failed reload of its own.
    """
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)
