"""What a user installs: wheel, sdist and checkout all find their rules."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from noai_guard.resources import FOR_OPERATORS

ROOT = Path(__file__).resolve().parent.parent
PROBE = """
import sys
from noai_guard import load_catalog, load_stance
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import rules_folder
compiled = CompiledPolicy(load_stance(), load_catalog())
assert "yaml" not in sys.modules, "the compiled rules were not used"
assert compiled.guard.judged("/", b"GPTBot/1.2").refuses
assert not compiled.guard.judged("/", b"Mozilla/5.0 Firefox/140.0").refuses
print(rules_folder())
"""


WITHOUT_EXTRAS = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from noai_guard.cli import COMMANDS, main

for words in (*((name, "--help") for name in COMMANDS), ("build", "--out", "public")):
    try:
        main(words, prog_name="noai-guard", standalone_mode=False)
    except SystemExit as ended:
        assert ended.code in (0, 1, 2), words
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return out


def probe(python: Path | str, cwd: Path) -> Path:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(python), "-W", "error", "-c", PROBE], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def installed(target: Path, archive: Path) -> Path:
    """A fresh virtual environment with the archive in it; what it depends on is borrowed from this one."""
    venv.create(target, with_pip=False, symlinks=True)
    (site,) = target.glob("lib/python3*/site-packages")
    ours = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
    ]
    subprocess.run([*command, str(archive)], check=True, capture_output=True, text=True, timeout=300)
    (site / "borrowed.pth").write_text(f"{ours}\n")
    return target / "bin" / "python"


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_an_installed_archive_finds_its_own_rules(built: Path, tmp_path: Path, kind: str) -> None:
    (archive,) = built.glob(kind)
    rules = probe(installed(tmp_path / "venv", archive), tmp_path)
    assert rules.is_relative_to(tmp_path / "venv")


def test_the_checkout_finds_the_rules_beside_pyproject(tmp_path: Path) -> None:
    assert probe(sys.executable, tmp_path) == ROOT / "rules"


def test_the_wheel_holds_catalogue_schema_types_and_compiled_rules(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "noai_guard/py.typed",
        "noai_guard/rules/compiled/rules.json",
        "noai_guard/rules/agents/openai.yaml",
        "noai_guard/rules/browsers.yaml",
        "noai_guard/rules/policies/no-ai.yaml",
        "noai_guard/rules/schema/policy.schema.json",
    }
    assert wanted <= names
    assert not [name for name in names if name.startswith(("tests/", "examples/"))]


def test_the_wheel_holds_the_files_for_operators_as_they_are_in_the_repository(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist() if "/for_operators/" in name}
    assert inside == {
        f"noai_guard/for_operators/{name}": (ROOT / path).read_bytes() for name, path in FOR_OPERATORS.items()
    }
    python = installed(tmp_path / "venv", wheel)
    command = [str(python), "-m", "noai_guard", "files", "prometheus/alerts.yml"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    assert done.stdout == (ROOT / FOR_OPERATORS["prometheus/alerts.yml"]).read_bytes(), done.stderr


def test_the_sdist_can_run_the_demo_and_the_tests(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "LICENSE", "README.md", "examples/music_site/app.py", "tests/test_packaging.py"} <= names


def test_the_rules_compile_with_what_the_build_is_given_alone(tmp_path: Path) -> None:
    """pip builds with `build-system.requires` and nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = [re.split(r"[^\w-]", requirement)[0] for requirement in project["project"]["dependencies"]]
    given = [re.split(r"[^\w-]", requirement)[0] for requirement in project["build-system"]["requires"]]
    absent = [name.replace("-", "_") for name in needed if name not in given]
    shutil.copytree(ROOT / "rules", tmp_path / "rules", ignore=shutil.ignore_patterns("compiled"))
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent})); from noai_guard.config import compile_rules as c; "
    )
    code += f"from pathlib import Path; c(Path({str(tmp_path / 'rules')!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "http_sf" in absent
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rules" / "compiled" / "rules.json").is_file()


def test_every_command_answers_where_no_extra_is_installed(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {_distribution(each) for each in project["dependencies"]}
    extras = {_distribution(each) for extra in project["optional-dependencies"].values() for each in extra} - needed
    blocked = {
        module for module, found in packages_distributions().items() if extras & set(map(_distribution, found))
    } - {"noai_guard"}
    assert {"protego", "polars", "sqlalchemy"} <= blocked
    script = f"BLOCKED = {blocked!r}\n{WITHOUT_EXTRAS}"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "public" / "robots.txt").is_file()


def _distribution(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""
