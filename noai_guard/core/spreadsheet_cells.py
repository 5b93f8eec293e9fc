"""Text in the cells of spreadsheets, which take some of it for formulas and run them."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with (OWASP, CSV injection); in full width too, as spreadsheets in Japanese take it."""

_BEFORE = "' "


def safe_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: what begins like one gets an apostrophe before it.

    So does what begins like one after apostrophes or blanks, so that `original_cell` gives every text back.
    """
    return f"'{text}" if text.lstrip(_BEFORE).startswith(_FORMULA) else text


def original_cell(text: str) -> str:
    """Return the text of which `safe_cell` made a cell."""
    return text[1:] if text.startswith("'") and text.lstrip(_BEFORE).startswith(_FORMULA) else text
