"""Maps load with nginx's own sizes of hashes, whatever stands before them."""

import subprocess
from pathlib import Path

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Agent, Usage
from noai_guard.targets import TARGETS
from noai_guard.targets.nginx_language import MAX_KEY, hash_parts, map_blocks, prefix
from noai_guard.targets.plan import TargetPlan
from tests.servers import free_port
from tests.targets.conformance import fetch
from tests.targets.web_servers import nginx_main, program, readable_folder, running


def checked(folder: Path, http: str) -> str:
    """Return what nginx says about a configuration."""
    (folder / "nginx.conf").write_text(nginx_main(folder, http))
    command = [program("nginx"), "-t", "-q", "-c", str(folder / "nginx.conf")]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


WEBSOCKETS = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"


SIZES = tuple(f"map_hash_max_size {size};" for size in (1024, 2048, 4096, 10_001, 16_384, 65_536))
BEFORE = (
    *("", WEBSOCKETS, *SIZES, "map_hash_bucket_size 32;", "variables_hash_max_size 2048;"),
    f"map_hash_bucket_size 128; map_hash_max_size 4096; {WEBSOCKETS}",
)


@pytest.mark.parametrize("names", [0, 2_500])
def test_the_files_load_without_a_warning_after_any_sizes(names: int) -> None:
    agents = (Agent(f"Many{n}", "x", (Usage.TRAIN_AI,), (f"Longer-Bot{n}x",)) for n in range(names))
    compiled = CompiledPolicy(load_stance("no-ai"), Catalog((*load_catalog().agents, *agents)))
    with readable_folder() as folder:
        for file in TARGETS["nginx"].render(TargetPlan(compiled), str(folder)):
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.path).write_bytes(file.content)
        server = f"server {{ listen 127.0.0.1:1; include {folder}/noai-guard/server.conf; }}"
        for before in BEFORE:
            assert checked(folder, f"{before} include {folder}/*-guard.conf; {WEBSOCKETS} {server}") == "", before


def test_every_key_of_a_large_map_is_found_whatever_its_length() -> None:
    keys = [f"a{number:0{1 + number % 70}}" for number in range(3000)] + [
        '"b \\"c"',
        "d\\\\e",
        '"\\\\default"',
        "é" * 20,
    ]
    with readable_folder() as folder:
        port = free_port()
        maps = "\n".join(map_blocks("$arg_key", "found", [(key, f"v{n}") for n, key in enumerate(keys)], "none"))
        server = f"{maps}\nserver {{ listen 127.0.0.1:{port}; location / {{ return 200 $found; }} }}"
        assert checked(folder, server) == ""
        with running([program("nginx"), "-c", str(folder / "nginx.conf")], port, folder):
            for number in (0, 1, 69, 139, 1499, 2999):
                assert fetch(port, f"/?key={keys[number]}", b"x").body.decode() == f"v{number}"
            assert fetch(port, "/?key=a", b"x").body == b"none"
            assert fetch(port, f"/?key={'a' * 200}", b"x").body == b"none"


def test_no_row_is_lost_and_none_is_doubled() -> None:
    rows = [(f"Bot{number}", str(number)) for number in range(5000)]
    parts = hash_parts(rows)
    assert sorted(row for part in parts for row in part) == sorted(rows)
    assert hash_parts([]) == [[]]
    assert hash_parts([("a" * MAX_KEY, "x")]) == [[("a" * MAX_KEY, "x")]]


def test_each_policy_has_a_prefix_of_its_own() -> None:
    assert prefix("", "n", "noai_") == "noai_"
    assert len({prefix(name, letter, "x") for name in ("a.example", "b.example") for letter in "ng"}) == 4
