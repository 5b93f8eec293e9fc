"""noai-guard partners, and explain with a partner's proof."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from noai_guard.cli import main


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def test_a_key_has_256_random_bits_and_its_digest_goes_into_the_policy() -> None:
    outputs = [run("partners", "key") for _ in range(2)]
    keys = [re.search(r"partner:\s+(noai_[\w-]{43})\n", output.stdout) for output in outputs]
    digests = [re.search(r"noai\.yaml:\s+([0-9a-f]{64})\n", output.stdout) for output in outputs]
    assert all(keys)
    assert len({key[1] for key in keys if key}) == 2
    for key, digest in zip(keys, digests, strict=True):
        assert key is not None
        assert digest is not None
        assert hashlib.sha256(key[1].encode()).hexdigest() == digest[1]


@pytest.fixture
def policy(tmp_path: Path) -> tuple[Path, str]:
    key = "noai_" + "k" * 43
    file = tmp_path / "noai.yaml"
    digest = hashlib.sha256(key.encode()).hexdigest()
    file.write_text(
        "partners:\n"
        f"- {{name: acme, proof: {{api_key: {digest}}}, usages: train-ai, paths: [/catalogue/**], until: 2999-12-31}}\n"
        f"- {{name: past, proof: {{networks: [203.0.113.0/24]}}, usages: seo, until: 2020-01-01}}\n"
        f"- {{name: soon, proof: {{networks: [203.0.113.0/24]}}, usages: seo, from: 2999-01-01}}\n"
        f"- {{name: ever, proof: {{networks: [203.0.113.0/24]}}, usages: seo}}\n"
    )
    return file, key


def test_partners_are_listed_with_the_end_of_their_grants(policy: tuple[Path, str]) -> None:
    rows = [line.split("\t") for line in run("partners", "--policy", str(policy[0])).stdout.splitlines()]
    assert [(row[0], row[3]) for row in rows] == [
        ("acme", "until 2999-12-31"),
        ("past", "ended on 2020-01-01"),
        ("soon", "begins on 2999-01-01"),
        ("ever", "without an end"),
    ]


def test_a_policy_without_partners_says_so(tmp_path: Path) -> None:
    (tmp_path / "noai.yaml").write_text("mode: monitor\n")
    assert "names no partners" in run("partners", "--policy", str(tmp_path / "noai.yaml")).stdout


@pytest.mark.parametrize(
    ("path", "key", "step"),
    [
        ("/catalogue/1", "", "acme: its grant covers the request"),
        ("/press", "", "acme: The grant of acme does not cover this path"),
        ("/catalogue/1", "x", "acme: the API key is not the partner's"),
    ],
)
def test_explain_shows_each_step_of_a_proof_and_never_a_key(
    policy: tuple[Path, str], path: str, key: str, step: str
) -> None:
    file, own = policy
    options = [
        "--policy",
        str(file),
        "--ua",
        "GPTBot/1.3",
        "--path",
        path,
        "--header",
        f"Authorization: Bearer {own}{key}",
    ]
    plain, facts = run("explain", *options), json.loads(run("explain", *options, "--format", "json").stdout)
    assert step in facts["proof"]
    assert step in plain.stdout
    assert own not in plain.output
    assert own not in json.dumps(facts)


def test_a_refusal_says_why_the_grant_does_not_hold(policy: tuple[Path, str]) -> None:
    file, _ = policy
    file.write_text(file.read_text().replace("usages: seo, until", "usages: train-ai, until"))
    options = ["--policy", str(file), "--ua", "GPTBot/1.3", "--ip", "203.0.113.9", "--format", "json"]
    for accept in ("text/plain", "application/json", "text/html"):
        facts = json.loads(run("explain", *options, "--header", f"Accept: {accept}").stdout)
        assert "The grant of past ended on 2020-01-01" in facts["refusal"]["body"]
