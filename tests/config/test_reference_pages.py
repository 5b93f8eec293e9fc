import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog, load_stance
from noai_guard.config.policy_schema import POLICY_FILE, STANCES
from noai_guard.config.schema_types import Choice, ListOf, MapOf, Record, ValueType
from noai_guard.core.address_headers import HEADERS
from noai_guard.core.client_address import PROBLEMS
from noai_guard.core.model import Action, Identity, Mode, Usage
from noai_guard.core.policy import OWN_RULE_IDS
from noai_guard.core.questions import run
from noai_guard.core.request import PlainRequest
from noai_guard.observability.metrics import Metrics
from noai_guard.responses.html_injection import OUTCOMES, REASONS
from noai_guard.stores.memory import MemoryStore

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs"
PROBLEMS_PAGE, POLICY, METRICS, ACTIONS, HOW_TO = (
    (PAGES / name).read_text()
    for name in (
        "reference/problems.md",
        "reference/policy.md",
        "reference/metrics.md",
        "reference/actions.md",
        "how-to/write-a-policy.md",
    )
)


def examples(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)


def section(page: str, heading: str) -> str:
    match = re.search(rf"(?ms)^#+ {heading}$(.*?)(?=^#+ |\Z)", page)
    assert match, f"no section {heading}"
    return match[1]


CODES = re.findall(r"(?m)^### ([CEPRTW]\d{3})$", PROBLEMS_PAGE)


def test_every_code_of_the_source_has_an_anchor_and_every_anchor_a_code() -> None:
    source = "\n".join(file.read_text() for file in (ROOT / "noai_guard").rglob("*.py"))
    assert sorted(CODES) == sorted(set(re.findall(r'"([CEPRTW]\d{3})"', source)))


@pytest.mark.parametrize(
    "code", [code for code in CODES if code.startswith("P") and code not in ("P001", "P023", "P024", "P030")]
)
def test_the_example_of_a_problem_has_it_and_no_other(code: str) -> None:
    (example,) = examples(section(PROBLEMS_PAGE, code))
    _, problems = check_policy_text(example.encode())
    assert {problem.code for problem in problems} == {code}
    assert all(problem.warning for problem in problems) == section(PROBLEMS_PAGE, code).strip().startswith("Warning:")


def keys(kind: ValueType, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (top-level key, key) for every key of a policy."""
    while isinstance(kind, ListOf | MapOf):
        kind = kind.item if isinstance(kind, ListOf) else kind.value
    if isinstance(kind, Record):
        for name, entry in kind.fields.items():
            yield path or name, name
            yield from keys(entry.value_type, path or name)


@pytest.mark.parametrize(("heading", "key"), sorted(set(keys(POLICY_FILE))))
def test_every_key_of_a_policy_is_documented_in_its_section(heading: str, key: str) -> None:
    text = section(POLICY, heading)
    assert heading == key or (heading == "paths" and key in set(Usage)) or f"`{key}`" in text


def test_the_reference_lists_the_keys_in_the_order_of_the_file() -> None:
    headings = re.findall(r"(?m)^## (\w+)$", POLICY)
    assert headings == list(POLICY_FILE.fields)


def test_every_word_of_a_switch_is_documented() -> None:
    for heading, entry in POLICY_FILE.fields.items():
        if isinstance(entry.value_type, Choice):
            assert all(f"`{word}`" in section(POLICY, heading) for word in entry.value_type.words)


def test_the_table_of_stances_is_what_the_stances_say() -> None:
    rows = re.findall(r"(?m)^\| ((?:`[\w-]+`(?:, )?)+) \| (\w+) \| (\w+) \| (\w+) \|$", section(POLICY, "extends"))
    documented = {
        (usage, stance): action
        for usages, *actions in rows
        for usage in re.findall(r"`([\w-]+)`", usages)
        for stance, action in zip(STANCES, actions, strict=True)
    }
    assert documented == {(usage, stance): load_stance(stance).usages[usage] for usage in Usage for stance in STANCES}


@pytest.mark.parametrize("example", [*examples(POLICY), *examples(HOW_TO)])
def test_an_example_is_a_good_file(example: str) -> None:
    policy, problems = check_policy_text(example.encode())
    assert policy is not None
    assert problems == ()


def test_every_metric_is_documented_with_its_type_and_labels() -> None:
    metrics = Metrics.of(CollectorRegistry()).all
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"(?m)^\| `(noai_\w+)` \| (\w+) \|([^|]*)\|", METRICS)
    }
    assert documented == {
        f"{metric._name}{'_total' if isinstance(metric, Counter) else ''}": (metric._type, tuple(metric._labelnames))
        for metric in metrics
    }


def test_every_value_of_a_closed_label_is_documented() -> None:
    values = {*Identity, *Mode, *OWN_RULE_IDS, *OUTCOMES, *REASONS, *PROBLEMS, "method", "ok", "failed"} - {"pending"}
    assert sorted(value for value in values if f"`{value}`" not in METRICS) == []


def test_every_action_is_documented_from_the_mildest_to_the_strictest() -> None:
    assert re.findall(r"(?m)^\| `(\w+)` \|", ACTIONS) == list(Action)


def test_the_refusal_in_the_reference_is_what_is_sent() -> None:
    policy, _ = check_policy_text(b"site: {url: https://label.example, contact: rights@label.example}\nmode: enforce\n")
    assert policy
    compiled = CompiledPolicy(policy, load_catalog())
    verdict = run(
        compiled.guard.examine(PlainRequest("/", [(b"user-agent", b"GPTBot/1.3")])),
        MemoryStore(),
        lambda question, error: None,
    )
    (example,) = re.findall(r"```text\n(.*?)```", ACTIONS, re.DOTALL)
    assert compiled.refusal(verdict, "/", "GET", []).body.decode() == example


def test_headers_named_in_the_reference_exist() -> None:
    row = re.search(r"(?m)^\| `header` \|(.*)\|$", POLICY)
    assert row
    assert set(re.findall(r"`([\w-]+)`", row[1])) <= set(HEADERS)


@pytest.mark.parametrize("page", sorted((PAGES / "reference").glob("*.md")) + sorted((PAGES / "how-to").glob("*.md")))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(((?!https?:)[^)#]*)(#([\w-]*))?\)", page.read_text()):
        linked = (page.parent / target).resolve() if target else page
        assert linked.is_file(), target
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*)$", linked.read_text())
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}
