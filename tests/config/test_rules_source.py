import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from noai_guard.config import compile_rules, load_catalog, load_stance, rules_folder, rules_source
from noai_guard.config.rules_source import RulesSource
from noai_guard.core.model import Action, Agent, Usage
from noai_guard.errors import CatalogInvalid, Invalid, PolicyInvalid

ENTRY = """operator: Tape Club
url: https://example.org
agents:
  - name: TapeBot
    status: stable
    expected_user_agent: [TapeBot]
    trigger: crawler
    usages: [{usage}]
    sources: [{{url: https://example.org/bot, retrieved: 2026-11-23}}]
    samples: {{match: [TapeBot/1.0], not: [CassetteBot/1.0]}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A small rules folder, compiled."""
    folder = tmp_path / "rules"
    shutil.copytree(rules_folder() / "policies", folder / "policies")
    (folder / "agents").mkdir()
    (folder / "agents" / "tape-club.yaml").write_text(ENTRY.format(usage="search"))
    compile_rules(folder)
    return folder


def fields(agent: Agent) -> tuple[object, ...]:
    return tuple(getattr(agent, name) for name in Agent.__slots__)


def run(code: str, **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    return process.stdout.strip()


def usages_in(rules: Path) -> tuple[Usage, ...]:
    return RulesSource(rules).catalog.agents[0].usages


def test_yaml_and_compiled_rules_make_the_same_catalogue(rules: Path, tmp_path: Path) -> None:
    packaged = tmp_path / "packaged"
    for folder in ("agents", "policies"):
        shutil.copytree(rules_folder() / folder, packaged / folder)
    from_yaml = load_catalog(packaged)
    compiled = shutil.copytree(packaged, tmp_path / "compiled")
    compile_rules(compiled)
    from_compiled = load_catalog(compiled)
    assert len(from_yaml.agents) > 440
    assert list(map(fields, from_compiled.agents)) == list(map(fields, from_yaml.agents))
    assert from_compiled.version == from_yaml.version


def test_an_edited_entry_replaces_the_compiled_one(rules: Path) -> None:
    assert usages_in(rules) == (Usage.SEARCH,)
    (rules / "agents" / "tape-club.yaml").write_text(ENTRY.format(usage="train-ai"))
    assert usages_in(rules) == (Usage.TRAIN_AI,)


def test_an_edit_that_keeps_the_size_and_time_of_a_file_is_noticed(rules: Path) -> None:
    file = rules / "agents" / "tape-club.yaml"
    times = file.stat()
    file.write_text(ENTRY.format(usage="player"))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file.stat().st_size == times.st_size
    assert usages_in(rules) == (Usage.PLAYER,)


def test_an_added_and_a_removed_file_are_noticed(rules: Path) -> None:
    first = rules / "agents" / "tape-club.yaml"
    (rules / "agents" / "a.yaml").write_text(ENTRY.format(usage="seo").replace("TapeBot", "AcetateBot"))
    assert usages_in(rules) == (Usage.SEO,)
    first.unlink()
    assert usages_in(rules) == (Usage.SEO,)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: b"{}",
        lambda text: b"[" * 100_000,
        lambda text: text[:-1],
        lambda text: text.replace(b'"search"', b'"player"', 1),
        lambda text: text.partition(b"\n")[0] + b"\n{}",
        lambda text: text.partition(b"\n")[0],
        lambda text: b"\xff" * 100,
        lambda text: b"\0" + text,
    ],
)
def test_a_damaged_compiled_file_is_not_used(rules: Path, damage: object) -> None:
    assert callable(damage)
    compiled = rules / "compiled" / "rules.json"
    compiled.write_bytes(damage(compiled.read_bytes()))
    assert load_catalog(rules).agents[0].usages == (Usage.SEARCH,)


def test_a_folder_in_place_of_the_compiled_file_is_not_used(rules: Path) -> None:
    compiled = rules / "compiled" / "rules.json"
    compiled.unlink()
    compiled.mkdir()
    assert load_catalog(rules).agents[0].usages == (Usage.SEARCH,)


def test_rules_are_read_once_until_they_are_reloaded(rules: Path) -> None:
    source = RulesSource(rules)
    before = source.catalog
    (rules / "agents" / "tape-club.yaml").write_text(ENTRY.format(usage="train-ai"))
    assert source.catalog is before
    assert source.reload()
    assert source.catalog.agents[0].usages == (Usage.TRAIN_AI,)
    assert source.catalog.version != before.version


def test_reloading_unchanged_rules_keeps_the_catalogue(rules: Path) -> None:
    source = RulesSource(rules)
    before = source.catalog
    assert not source.reload()
    assert source.catalog is before


def test_an_edited_stance_is_reloaded(rules: Path) -> None:
    source = RulesSource(rules)
    assert source.stances["no-ai"]["usages"]["archive"] == "allow"
    file = rules / "policies" / "no-ai.yaml"
    file.write_text(file.read_text().replace("archive: yes", "archive: no"))
    assert source.reload()
    assert source.stances["no-ai"]["usages"]["archive"] == "deny"


def test_rules_with_a_mistake_are_not_reloaded_and_what_was_read_stays(rules: Path) -> None:
    source = RulesSource(rules)
    before = source.catalog
    file = rules / "agents" / "tape-club.yaml"
    file.write_text(ENTRY.format(usage="trian-ai"))
    for _ in range(2):
        with pytest.raises(CatalogInvalid, match="P012"):
            source.reload()
        assert source.catalog is before
    file.write_text(ENTRY.format(usage="player"))
    assert source.reload()
    assert source.catalog.agents[0].usages == (Usage.PLAYER,)


def test_a_folder_has_one_source_in_a_process(rules: Path) -> None:
    assert rules_source(rules) is rules_source(rules)
    assert load_catalog(rules) is rules_source(rules).catalog
    assert rules_source().folder == rules_folder()


def test_samples_and_sources_stay_out_of_the_compiled_file(rules: Path) -> None:
    _, _, body = (rules / "compiled" / "rules.json").read_bytes().partition(b"\n")
    assert set(json.loads(body)["agents"][0]) == {
        "operator", "name", "status", "expected_user_agent", "trigger", "usages",
    }  # fmt: skip


def test_compiling_twice_gives_the_same_bytes_and_leaves_nothing_else(rules: Path) -> None:
    compiled = rules / "compiled" / "rules.json"
    before = compiled.read_bytes()
    assert compile_rules(rules) == compiled
    assert compiled.read_bytes() == before
    assert [file.name for file in compiled.parent.iterdir()] == ["rules.json"]


def test_yaml_is_not_imported_while_the_compiled_file_is_current(rules: Path) -> None:
    output = run(
        "import sys; from pathlib import Path; import noai_guard.config as config\n"
        f"config.rules_folder = lambda: Path({str(rules)!r})\n"
        "config.load_stance(); config.load_catalog(); print('yaml' in sys.modules)"
    )
    assert output == "False"


def test_rules_that_cannot_be_written_are_read(rules: Path) -> None:
    shutil.rmtree(rules / "compiled")
    folders = [rules, rules / "agents", rules / "policies"]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert usages_in(rules) == (Usage.SEARCH,)
        assert not (rules / "compiled").exists()
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_a_rules_folder_that_is_missing_is_a_problem_and_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(CatalogInvalid, match="P001 cannot be read"):
        load_catalog(tmp_path / "nowhere")


def test_a_stance_that_is_missing_is_a_problem_and_no_traceback(rules: Path) -> None:
    (rules / "policies" / "no-ai.yaml").unlink()
    with pytest.raises(PolicyInvalid, match="P001 cannot be read"):
        load_catalog(rules)


def test_a_stance_with_a_mistake_is_not_compiled(rules: Path) -> None:
    (rules / "policies" / "no-ai.yaml").write_text("usages: {trian-ai: no}\n")
    with pytest.raises(PolicyInvalid, match="P012"):
        compile_rules(rules)


def test_every_mistake_of_every_entry_is_reported_at_once(rules: Path) -> None:
    agents = rules / "agents"
    (agents / "b.yaml").write_text(ENTRY.format(usage="trian-ai").replace("[TapeBot]", "['(.*)']"))
    (agents / "c.yaml").write_text(ENTRY.format(usage="search"))
    (agents / "d.yaml").write_text("")
    (agents / "e.yaml").write_text("agents:\n  - name: 'x\n")
    with pytest.raises(Invalid) as caught:
        compile_rules(rules)
    assert [(problem.file, problem.line, problem.code) for problem in caught.value.problems] == [
        ("b.yaml", 6, "C001"),
        ("b.yaml", 8, "P012"),
        ("c.yaml", 4, "C003"),
        ("d.yaml", 0, "P021"),
        ("e.yaml", 2, "P002"),
        ("tape-club.yaml", 4, "C003"),
    ]


def test_the_packaged_stances_are_three_and_no_ai_is_the_default() -> None:
    assert load_stance().stance == "no-ai"
    assert load_stance("no-training").usages[Usage.AI_INPUT] is Action.ALLOW
    assert load_stance("search-only").usages[Usage.ARCHIVE] is Action.DENY


def test_an_unknown_stance_is_a_problem_and_no_traceback() -> None:
    with pytest.raises(PolicyInvalid, match="P009 unknown stance 'no-music'; one of no-ai"):
        load_stance("no-music")
