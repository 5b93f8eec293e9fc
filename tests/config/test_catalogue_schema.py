from pathlib import Path

import pytest

from noai_guard.config.catalogue_schema import read_agent_files, read_browsers, samples_from
from noai_guard.errors import CatalogInvalid, Problem

ENTRY = """operator: Tape Club
agents:
  - name: TapeBot
    status: stable
    rfc9309_product_token: TapeBot
    robots_txt_tokens: [tape bot 2]
    expected_user_agent: [TapeBot]
    trigger: crawler
    usages: [search]
    opt_out: {usages: [train-ai], by: TapeBot-Extended}
    verify: {ips_uri: https://example.org/ips.json}
    sources: [{url: https://example.org/bot, retrieved: 2026-11-23}]
    samples: {match: [TapeBot/1.0], not: [CassetteBot/1.0]}
"""


def problems_of(tmp_path: Path, text: str) -> list[Problem]:
    file = tmp_path / "tape-club.yaml"
    file.write_text(text)
    with pytest.raises(CatalogInvalid) as caught:
        read_agent_files([file])
    return list(caught.value.problems)


def test_an_entry_becomes_plain_data_with_its_operator(tmp_path: Path) -> None:
    file = tmp_path / "tape-club.yaml"
    file.write_text(ENTRY)
    (entry,) = read_agent_files([file])
    assert (entry["operator"], entry["name"], entry["usages"]) == ("Tape Club", "TapeBot", ["search"])
    assert entry["verify"] == {"ips_uri": ["https://example.org/ips.json"]}
    samples = samples_from(entry)
    assert (samples.agent, samples.match, samples.look_alikes) == ("TapeBot", ("TapeBot/1.0",), ("CassetteBot/1.0",))


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("expected_user_agent: [TapeBot]", "expected_user_agent: ['(.*)']", "C001", 7),
        ("rfc9309_product_token: TapeBot", "rfc9309_product_token: TapeBot2", "C002", 5),
        ("[tape bot 2]", "['tape:bot']", "C002", 6),
        ("usages: [search]", "usages: []", "P006", 9),
        ("usages: [search]", "usages: [serach]", "P012", 9),
        ("status: stable", "status: stabel", "P009", 4),
        ("    trigger: crawler\n", "", "P010", 3),
        ("- name: TapeBot\n    status: stable", "- status: stable", "P010", 3),
        ("operator: Tape Club\n", "", "P010", 1),
        ("sources: [{url", "sources: [{uri", "P005", 12),
        ("match: [TapeBot/1.0]", "match: TapeBot/1.0", "P006", 13),
        ("operator: Tape Club", "operator: yes", "P006", 1),
    ],
)
def test_a_mistake_in_an_entry_is_reported_with_its_line(
    tmp_path: Path, old: str, new: str, code: str, line: int
) -> None:
    assert old in ENTRY
    positions = [(problem.code, problem.line) for problem in problems_of(tmp_path, ENTRY.replace(old, new))]
    assert (code, line) in positions


def test_agents_of_one_name_are_found_across_files_and_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ENTRY)
    (tmp_path / "b.yaml").write_text(ENTRY.replace("name: TapeBot", "name: tapebot"))
    with pytest.raises(CatalogInvalid, match=r"b\.yaml:3:11: C003 agent 'tapebot' is already in a\.yaml"):
        read_agent_files(tmp_path.glob("*.yaml"))


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(CatalogInvalid, match=r"none\.yaml: P001 cannot be read"):
        read_agent_files([tmp_path / "none.yaml"])


def test_a_file_with_too_many_mistakes_is_a_problem(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "".join(f"key{number}: 1\n" for number in range(300)))
    assert len(problems) == 201


def test_browsers_are_read_by_group(tmp_path: Path) -> None:
    file = tmp_path / "browsers.yaml"
    file.write_text("groups:\n  - {name: desktop, user_agents: [Firefox/1]}\n  - {name: tv, user_agents: [Tizen]}\n")
    assert read_browsers(file) == {"desktop": ("Firefox/1",), "tv": ("Tizen",)}


def test_a_mistake_in_the_browsers_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "browsers.yaml"
    file.write_text("groups:\n  - {name: desktop}\n")
    with pytest.raises(CatalogInvalid, match="P010"):
        read_browsers(file)
