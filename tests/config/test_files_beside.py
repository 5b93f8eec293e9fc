"""Files that a policy names: lists of networks, databases of autonomous systems, folders of agents."""

import json
import os
import sys
import tracemalloc
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from noai_guard.config import check_policy, load_catalog
from noai_guard.core.networks import NetworkSet
from noai_guard.core.policy import Policy
from noai_guard.errors import Problem
from tests.config.asn_database import asn_database

HOSTING = "networks: {hosting: {file: lists/hosting.txt}}\n"
CLOUD = "networks: {cloud: {asn: [64500, 64501], database: asn.mmdb}}\n"


def read(folder: Path, text: str, files: Mapping[str, bytes]) -> tuple[Policy | None, tuple[Problem, ...]]:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)
    (folder / "noai.yaml").write_text(text)
    return check_policy(folder / "noai.yaml")


def test_a_list_of_networks_is_read_from_beside_the_policy(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf# hosting\r\n203.0.113.0/24 ; one\n\n  2001:db8::/32  \n198.51.100.7#two\n"
    policy, problems = read(tmp_path, HOSTING, {"lists/hosting.txt": content})
    assert policy is not None
    assert problems == ()
    assert policy.networks == {"hosting": NetworkSet(["203.0.113.0/24", "2001:db8::/32", "198.51.100.7"])}
    assert policy.files == (str(tmp_path / "lists" / "hosting.txt"),)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"203.0.113.0/24\n203.0.113.7/24\nexample.org\n0.0.0.0/0\n", [(2, "P013"), (3, "P013"), (4, "P013")]),
        (b"\0\1\2", [(0, "P002")]),
        (b"\xff\xfe\xff", [(0, "P002")]),
        (b"x\n" * 50, [*((line, "P013") for line in range(1, 21)), (21, "P023")]),
        (b"10.0.0.0/8\n" * 200_001, [(0, "P008")]),
        (b"# " + b"x" * 17_000_000, [(0, "P001")]),
    ],
    ids=["lines", "binary", "not text", "many", "too many", "huge"],
)
def test_every_mistake_in_a_list_has_its_file_and_line(
    content: bytes, expected: list[tuple[int, str]], tmp_path: Path
) -> None:
    policy, problems = read(tmp_path, HOSTING, {"lists/hosting.txt": content})
    assert policy is None
    assert [(problem.line, problem.code) for problem in problems] == expected
    assert {problem.file for problem in problems} == {str(tmp_path / "lists" / "hosting.txt")}
    assert all(problem.hint for problem in problems)


def test_an_empty_list_is_a_warning(tmp_path: Path) -> None:
    policy, (problem,) = read(tmp_path, HOSTING, {"lists/hosting.txt": b"# nothing yet\n"})
    assert policy is not None
    assert (problem.code, problem.warning) == ("P021", True)


@pytest.mark.parametrize("text", [HOSTING, CLOUD.replace("asn.mmdb", "lists/hosting.txt"), "agents_dir: lists\n"])
def test_a_file_that_is_missing_is_a_mistake(text: str, tmp_path: Path) -> None:
    policy, (problem,) = read(tmp_path, text, {})
    assert policy is None
    assert problem.code == "P001"
    assert problem.file.startswith(str(tmp_path / "lists"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFO in a folder")
@pytest.mark.parametrize("text", [HOSTING, CLOUD.replace("asn.mmdb", "lists/hosting.txt"), "agents_dir: lists\n"])
def test_a_fifo_holds_nothing_up(text: str, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    os.mkfifo(tmp_path / "lists" / ("a.yaml" if "agents_dir" in text else "hosting.txt"))
    policy, (problem,) = read(tmp_path, text, {})
    assert policy is None
    assert problem.code == "P001"


def test_200_000_networks_are_read_in_less_than_50_mb(tmp_path: Path) -> None:
    content = "".join(f"{IPv4Address(number << 9)}/24\n" for number in range(200_000)).encode()
    tracemalloc.start()
    try:
        policy, problems = read(tmp_path, HOSTING, {"lists/hosting.txt": content})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert problems == ()
    assert policy is not None
    assert len(policy.networks["hosting"]) == 200_000
    assert most < 50_000_000


def test_the_networks_of_autonomous_systems_are_read_from_a_database(tmp_path: Path) -> None:
    content = asn_database(
        {"203.0.113.0/24": 64500, "198.51.100.0/25": "AS64501", "2001:db8::/32": 64500, "192.0.2.0/24": 64999}
    )
    policy, problems = read(tmp_path, CLOUD, {"asn.mmdb": content})
    assert problems == ()
    assert policy is not None
    assert policy.networks["cloud"] == NetworkSet(["203.0.113.0/24", "198.51.100.0/25", "2001:db8::/32"])


def test_a_database_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    for address in ("203.0.113.0/24", "192.0.2.0/24"):
        policy, _ = read(tmp_path, CLOUD, {"asn.mmdb": asn_database({address: 64500})})
        assert policy is not None
        assert policy.networks["cloud"] == NetworkSet([address])


@pytest.mark.parametrize(
    "content", [b"", b"hello", asn_database({"203.0.113.0/24": 64500})[:-9], b"\xab\xcd\xefMaxMind.com\xe0"]
)
def test_what_is_no_database_is_a_mistake(content: bytes, tmp_path: Path) -> None:
    policy, (problem,) = read(tmp_path, CLOUD, {"asn.mmdb": content})
    assert policy is None
    assert problem.code == "P030"


def test_without_maxminddb_the_mistake_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    _, (problem,) = read(tmp_path, CLOUD, {"asn.mmdb": asn_database({"203.0.113.0/24": 64500})})
    assert "pip install 'noai-guard[identity]'" in str(problem)


AGENTS = b"""
operator: Somebody
agents:
  - {name: TrackGrab, usages: [scraper], expected_user_agent: [TrackGrab]}
  - {name: Silent, usages: [scraper], networks: [203.0.113.0/24]}
"""


def test_agents_are_read_from_a_folder_beside_the_policy(tmp_path: Path) -> None:
    files = {"agents/a.yaml": AGENTS, "agents/.b.yaml": b"[", "agents/README.md": b"["}
    policy, problems = read(tmp_path, "agents_dir: ./agents/\nrules: [{agents: [silent], action: log}]\n", files)
    assert problems == ()
    assert policy is not None
    assert [(agent.name, agent.operator) for agent in policy.agents] == [
        ("TrackGrab", "Somebody"),
        ("Silent", "Somebody"),
    ]
    assert policy.files == (str(tmp_path / "agents"), str(tmp_path / "agents" / "a.yaml"))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"[", "P002"),
        (b"", "P021"),
        (b"agents: [{name: a}]", "P010"),
        (b"agents: [{name: a, usages: [scraper]}]", "C009"),
        (b"agents: [{name: a, usages: [scraper], expected_user_agent: [Safari]}]", "C010"),
        (b"agents: [{name: A, usages: [scraper], networks: [10.0.0.1]}, {name: a, usages: [seo], headers: {X-A: [b]}}]",
         "C003"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_agents_file_names_the_file(content: bytes, code: str, tmp_path: Path) -> None:
    policy, problems = read(tmp_path, "agents_dir: agents", {"agents/a.yaml": content})
    assert policy is None
    assert [problem.code for problem in problems] == [code]
    assert problems[0].file == str(tmp_path / "agents" / "a.yaml")


def test_too_many_files_of_agents_are_a_mistake(tmp_path: Path) -> None:
    policy, (problem,) = read(tmp_path, "agents_dir: agents", {f"agents/{n}.yaml": AGENTS for n in range(201)})
    assert policy is None
    assert problem.code == "P008"


def test_an_own_agent_may_replace_the_packaged_one_that_people_use(tmp_path: Path) -> None:
    packaged = load_catalog().find(b"VLC/3.0.21 LibVLC/3.0.21")
    assert packaged is not None
    entry = {"name": packaged.name, "usages": ["player"], "expected_user_agent": list(packaged.expected_user_agent)}
    policy, problems = read(tmp_path, f"agents: [{json.dumps(entry)}]\n", {})
    assert problems == ()
    assert policy is not None
    entry["name"] = "Somebody else"
    _, (problem,) = read(tmp_path, f"agents: [{json.dumps(entry)}]\n", {})
    assert problem.code == "C010"
