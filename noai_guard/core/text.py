"""Text made fit for terminals, logs, header fields and messages."""

import re
from collections.abc import Iterable, Iterator, Sequence

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""C0 and C1 controls, Unicode's line ends, and lone surrogates, which no encoding can carry."""

_MIN_COLUMN = 8


def one_line(text: str) -> str:
    """Return the text with control characters as blanks and runs of blanks as one."""
    return " ".join(CONTROL_CHARACTERS.sub(" ", text).split())


def printable(text: str) -> str:
    """Return the text with everything unprintable escaped, so that a terminal shows it and does not obey it."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode()
        for character in text
    )


def printable_ascii(text: str, max_length: int) -> str:
    """Return at most `max_length` characters of the text; escaped, as a whole, unless they are printable ASCII."""
    text = text[:max_length]
    if text.isascii() and text.isprintable():
        return text
    return text.encode("unicode_escape", "backslashreplace").decode("ascii")


def ascii_text(text: str) -> str:
    """Return the text for a header field: one line of printable ASCII, with `?` for every other character."""
    return "".join(character if " " <= character <= "~" else "?" for character in " ".join(text.split()))


def truncated(text: str, max_length: int) -> str:
    """Return at most `max_length` characters of the text; an ellipsis stands for what is cut off."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def listed(names: Sequence[str], max_names: int = 8) -> str:
    """Return the first names, separated by commas, and the number of the others: `a, b and 3 more`."""
    others = len(names) - max_names
    return ", ".join(names[:max_names]) + (f" and {others} more" if others > 0 else "")


def table(rows: Sequence[Sequence[str]], width: int, gap: int = 2) -> Iterator[str]:
    """Yield the rows as aligned lines, no wider than `width` if that is possible: the widest columns are cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + gap * (len(widths) - 1) > width and max(widths) > _MIN_COLUMN:
        widths[widths.index(max(widths))] -= 1
    for row in rows:
        cells = (truncated(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True))
        yield (" " * gap).join(cells).rstrip()


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known word that a misspelled one is most like, case aside; empty if none is near.

    `cutoff` is the least similarity, from 0 to 1, as `difflib.get_close_matches` takes it.
    """
    from difflib import get_close_matches  # only mistakes need it, and its import takes a millisecond

    spellings = {text.lower(): text for text in known}
    matches = get_close_matches(word.lower()[:100], spellings, 1, cutoff)
    return spellings[matches[0]] if matches else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the hint for a misspelled word; empty if no known word is near."""
    match = closest(word, known)
    return f"did you mean {match!r}?" if match else ""
