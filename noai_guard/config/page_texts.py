"""Reader of a site's own texts, for the page for people (`site.page_texts`) or the creators' page: one YAML file of
`key: text` lines."""

from functools import cache
from pathlib import Path

from noai_guard.config.regular_file import read_regular_file
from noai_guard.config.scalars import language
from noai_guard.config.schema_types import Choice, Field, Record, Rejection, Text
from noai_guard.config.yaml_nodes import MAX_BYTES, NodeContext, ProblemLog, TooManyProblems, parse
from noai_guard.declarations.policy_page import PLACEHOLDER, TEXTS
from noai_guard.errors import Problem
from noai_guard.resources import texts


def _text_type(english: str) -> Text:
    """Return the type of a translation, which has the same words in braces as the English text."""
    expected = sorted(PLACEHOLDER.findall(english))

    def convert(text: str) -> str | Rejection:
        if sorted(PLACEHOLDER.findall(text)) == expected:
            return text
        words = " and ".join(f"{{{word}}}" for word in expected) or "no words in braces"
        return Rejection("P007", "the text has other words in braces than the English one", f"write {words}, each once")

    return Text(convert, max_length=500)


@cache
def texts_record(name: str) -> Record:
    """Return the form of a translation of the file `name` below `noai_guard/`."""
    return Record(
        {
            **{key: Field(_text_type(english), f"in English: {english}") for key, english in texts(name).items()},
            "lang": Field(Text(language, max_length=50), "the language of these texts", required=True),
            "direction": Field(
                Choice({"ltr": "left to right", "rtl": "right to left"}), "the direction of the writing"
            ),
        },
        noun="text of the page",
    )


PAGE_TEXTS = texts_record(TEXTS)


def read_page_texts(file: Path, name: str = TEXTS) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """Return the texts of a file that translates the file `name` below `noai_guard/`, and its problems."""
    log = ProblemLog(str(file))
    data: dict[str, str] = {}
    try:
        root = parse(read_regular_file(file, MAX_BYTES + 1), log)
        if root is not None:
            data = texts_record(name).read(NodeContext(root, (), log)) or {}
        elif log.is_valid():
            log.add("P010", "the file needs a key 'lang'", "add lang: de, or whatever its language is")
    except TooManyProblems:
        pass
    except (OSError, ValueError) as error:
        log.add("P001", f"cannot be read: {getattr(error, 'strerror', None) or error}", "name a file beside the policy")
    return data, tuple(log.problems)
