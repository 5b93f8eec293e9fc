"""Each server has a page that shows its command, and the table of what each can do is the code's own.

To update the table: `python -m tests.targets.test_pages`.
"""

import re
from pathlib import Path

import pytest

from noai_guard.targets import TARGETS
from noai_guard.targets.target import Feature

PAGES = Path(__file__).resolve().parents[2] / "docs" / "servers"
PROOFS = {"server": "the server", "schema": "schema only"}
TABLE = re.compile(r"(<!-- features -->\n).*?(<!-- /features -->)", re.DOTALL)


def with_current_table(text: str) -> str:
    lines = ["| server | proven by | cannot |", "|---|---|---|"]
    for key, target in TARGETS.items():
        missing = "; ".join(str(feature) for feature in Feature if feature not in target.supports) or "-"
        lines.append(f"| [{target.title}]({page(key)}) | {PROOFS[target.proof]} | {missing} |")
    table = "".join(f"{line}\n" for line in lines)
    return TABLE.sub(lambda match: f"{match[1]}{table}{match[2]}", text)


def page(key: str) -> str:
    return {"htaccess": "apache.md"}.get(key, f"{key}.md")


def test_the_table_of_servers_is_current() -> None:
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    assert TABLE.search(text)
    assert with_current_table(text) == text


@pytest.mark.parametrize("key", TARGETS)
def test_each_server_has_a_page_that_shows_its_command(key: str) -> None:
    assert f"noai-guard config {key} --out" in (PAGES / page(key)).read_text(encoding="utf-8")


@pytest.mark.parametrize("key", sorted(TARGETS))
def test_each_page_begins_with_the_choice_between_the_two_forms(key: str) -> None:
    headings = re.findall(r"^## (.*)$", (PAGES / page(key)).read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Which of the two forms"


if __name__ == "__main__":
    index = PAGES / "README.md"
    index.write_text(with_current_table(index.read_text(encoding="utf-8")), encoding="utf-8")
