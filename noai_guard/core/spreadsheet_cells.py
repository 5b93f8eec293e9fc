"""Text in the cells of spreadsheets, which take some of it for formulas and run them."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: what begins like one gets an apostrophe before it.

    So does what begins like one after apostrophes, so that `original_cell` gives every text back.
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def original_cell(text: str) -> str:
    """Return the text of which `safe_cell` made a cell."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text
