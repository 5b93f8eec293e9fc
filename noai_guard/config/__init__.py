"""Read files into objects: a site's noai.yaml into a Policy, rules/ into a Catalog. Only this package reads YAML."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noai_guard.build_date import today
from noai_guard.config.build import agent_from, build_policy, merge
from noai_guard.config.regular_file import read_regular_file
from noai_guard.config.rules_source import RulesSource
from noai_guard.config.rules_source import compile_rules as compile_rules
from noai_guard.core.catalog import Catalog
from noai_guard.core.event_settings import EVENTS_FOLDER
from noai_guard.core.policy import Policy
from noai_guard.core.works import Works
from noai_guard.errors import PolicyInvalid, Problem

if TYPE_CHECKING:
    from noai_guard.config.files_beside import FilesBeside
    from noai_guard.config.own_agents import OwnAgentProblem
    from noai_guard.config.yaml_nodes import ProblemLog

_sources: dict[Path, RulesSource] = {}


def rules_folder() -> Path:
    """Return the folder rules/: inside the installed package, or beside pyproject.toml in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "rules"
    return inside if inside.is_dir() else package.parent / "rules"


def rules_source(folder: Path | None = None) -> RulesSource:
    """Return the rules of a folder, the packaged ones without an argument. One object per folder and process."""
    folder = folder or rules_folder()
    return _sources.setdefault(folder, RulesSource(folder))


def load_catalog(folder: Path | None = None) -> Catalog:
    """Return the packaged catalogue, or the one in another rules folder, as `rules_source(folder)` last read it.

    Raises CatalogInvalid or PolicyInvalid, with every problem, when the folder cannot be used.
    """
    return rules_source(folder).catalog


def catalog_of(policy: Policy) -> Catalog:
    """Return the packaged catalogue with what `noai-guard refresh` has fetched for a policy.

    Raises what `load_catalog` raises; lists that are damaged are left out, which `noai-guard refresh` reports.
    """
    catalog = load_catalog()
    if not policy.refresh.folder:
        return catalog
    from noai_guard.config.refreshed import read_refreshed, with_refreshed

    try:
        refreshed = read_refreshed(policy.refresh.folder)
    except ValueError:
        return catalog
    return with_refreshed(catalog, refreshed, policy.feeds)


def load_stance(name: str = "no-ai") -> Policy:
    """Return a packaged stance: no-ai, no-training or search-only. Raises PolicyInvalid for any other name."""
    stances = rules_source().stances
    if name not in stances:
        raise PolicyInvalid([Problem("P009", f"unknown stance {name!r}", f"one of {', '.join(stances)}")])
    return build_policy(stances[name], name)


def load_policy(file: str | Path) -> Policy:
    """Return the policy of a site's noai.yaml. Raises PolicyInvalid with every error; warnings do not count."""
    policy, problems = check_policy(file)
    if policy is None:
        raise PolicyInvalid(problem for problem in problems if not problem.warning)
    return policy


def check_policy(file: str | Path) -> tuple[Policy | None, tuple[Problem, ...]]:
    """Return the policy of a site's noai.yaml (None if it cannot be used), and every problem and warning."""
    # Only here, so that PyYAML is not imported for a packaged stance.
    from noai_guard.config.yaml_nodes import MAX_BYTES

    try:
        text = read_regular_file(file, MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        return None, (unreadable_policy(error, str(file)),)
    return check_policy_text(text, str(file))


def unreadable_policy(error: OSError | ValueError, file: str) -> Problem:
    """Return the problem with a policy that could not be opened or read."""
    if file in rules_source().stances:
        hint = f"write a file that says extends: {file}"
    else:
        hint = "`noai-guard init` writes one" if isinstance(error, FileNotFoundError) else "name a readable file"
    return Problem("P001", f"cannot be read: {getattr(error, 'strerror', None) or error}", hint, file)


def check_policy_text(text: bytes, file: str = "noai.yaml") -> tuple[Policy | None, tuple[Problem, ...]]:
    """Return what `check_policy` returns, for the content of a file. Never raises, whatever the text is.

    The texts of the page for people (`site.page_texts`) are read from the folder of `file`.
    """
    from noai_guard.config.policy_schema import read_policy

    rules = rules_source()
    data, log = read_policy(text, file)
    beside = _read_beside(data, log, Path(file).parent, rules.catalog)
    problems = tuple(sorted(log.problems, key=lambda problem: (problem.line, problem.column, problem.code)))
    problems += tuple(beside.problems)
    texts_file = data.get("site", {}).pop("page_texts", "en")
    if texts_file != "en":
        from noai_guard.config.page_texts import read_page_texts

        data["page_texts"], problems_of_texts = read_page_texts(Path(file).parent / texts_file)
        problems += problems_of_texts
        beside.files.append(str(Path(file).parent / texts_file))
    if key_files := data.get("signatures", {}).pop("keys", {}):
        from noai_guard.config.key_files import read_key_files

        data["key_sets"], problems_of_keys = read_key_files(key_files, Path(file).parent)
        problems += problems_of_keys
        beside.files += (str(Path(file).parent / key_file) for key_file in key_files.values())
    data["files"] = beside.files
    if (source := data.get("wishes")) and log.is_valid("wishes") and log.is_valid("works"):
        from noai_guard.config.wishes import located, read_wishes

        data["wishes"] = located(source, Path(file).parent)
        works = Works(data.get("works", ()))
        data["wish_index"], problems_of_wishes = read_wishes(data["wishes"], works, date.fromisoformat(today()))
        problems += problems_of_wishes
    if not all(problem.warning for problem in problems):
        return None, problems
    if refresh := data.get("refresh"):
        refresh["folder"] = str(Path(file).parent / refresh["folder"])
    if ledger := data.get("ledger"):
        ledger["folder"] = str(Path(file).parent / ledger["folder"])
    if "events" in data:
        data["events"]["folder"] = str(Path(file).parent / data["events"].get("folder", EVENTS_FOLDER))
    stance = data.get("extends", "no-ai")
    return build_policy(merge(rules.stances[stance], data), stance), problems


def welcome_user_agents() -> tuple[str, ...]:
    """Return the user agents of rules/browsers.yaml, which must never be refused. Raises CatalogInvalid."""
    from noai_guard.config.catalogue_schema import read_browsers

    groups = read_browsers(rules_folder() / "browsers.yaml")
    return tuple(user_agent for user_agents in groups.values() for user_agent in user_agents)


def _read_beside(data: dict[str, Any], log: "ProblemLog", folder: Path, catalog: Catalog) -> "FilesBeside":
    """Read what a policy names, put it into the data, and check the policy as a whole."""
    from noai_guard.config.files_beside import read_files_beside
    from noai_guard.config.semantic_checks import check_semantics
    from noai_guard.config.yaml_nodes import TooManyProblems

    beside = read_files_beside(data, log, folder)
    inline = [(index, entry) for index, entry in enumerate(data.get("agents") or ()) if log.is_valid("agents", index)]
    entries = [entry for _, entry in inline] + [entry for _, entry in beside.agents]
    try:
        for problem in _own_agent_problems(entries, catalog):
            if problem.number < len(inline):
                log.add(
                    problem.code, problem.message, problem.hint, path=("agents", inline[problem.number][0], problem.key)
                )
            else:
                of_file = beside.agents[problem.number - len(inline)][0]
                beside.problems.append(Problem(problem.code, problem.message, problem.hint, of_file))
        if not any(problem.code == "P023" for problem in log.problems):
            own = [agent_from(entry) for entry in entries]
            check_semantics(data, catalog.extended(own), log)
    except TooManyProblems:
        pass
    data["agents"] = entries
    data["networks"] = beside.networks
    return beside


def _own_agent_problems(entries: Sequence[Mapping[str, Any]], catalog: Catalog) -> "Iterable[OwnAgentProblem]":
    if not entries:
        return ()
    from noai_guard.config.catalogue_schema import read_browsers
    from noai_guard.config.own_agents import own_agent_problems

    by_name = any(entry.get("expected_user_agent") for entry in entries)
    return own_agent_problems(entries, catalog, read_browsers(rules_folder() / "browsers.yaml") if by_name else {})


def sample_user_agent(agent: str = "", source: str = "") -> str:
    """Return a real user agent: of an agent in `rules/agents/<source>.yaml`, or of a browser without a name.

    Raises CatalogInvalid when the file cannot be used.
    """
    from noai_guard.config.catalogue_schema import read_agent_files, read_browsers, samples_from

    folder = rules_folder()
    if not agent:
        return next(iter(read_browsers(folder / "browsers.yaml").values()))[0]
    entries = read_agent_files([folder / "agents" / f"{source}.yaml"])
    return next(samples_from(entry).match[0] for entry in entries if entry["name"] == agent)
