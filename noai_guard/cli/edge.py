"""noai-guard edge: the policy as another server's configuration."""

from pathlib import Path

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.output_files import existing_robots, written
from noai_guard.cli.policy_option import chosen_policy, policy_option
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog
from noai_guard.declarations import robots_txt
from noai_guard.errors import CannotExpress
from noai_guard.targets import TARGETS
from noai_guard.targets.plan import TargetPlan


@click.command("edge")
@click.argument("server", type=click.Choice(list(TARGETS)))
@click.option("--out", type=click.Path(), required=True, metavar="DIR", help="Where to write.")
@click.option("--root", metavar="DIR", help="Where DIR will be on the server, when it is not here.")
@click.option("--merge", type=click.Path(), metavar="ROBOTS.TXT", help="The site's own robots.txt; its rules stay.")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit code 1 when a file is stale.")
@policy_option
@click.pass_context
def command(
    ctx: click.Context,
    server: str,
    out: str,
    root: str | None,
    merge: str | None,
    only_check: bool,
    policy_file: str | None,
) -> None:
    """Write the policy as configuration of SERVER: declarations on every response, documents, refusals.

    The files say where to include them. What SERVER cannot do of the policy is said on standard error. The same
    policy, catalogue and --root give the same bytes.

    \b
    Examples:
      noai-guard edge nginx --out /etc/nginx/conf.d --policy noai.yaml
      noai-guard edge caddy --out caddy --root /etc/caddy
      noai-guard edge nginx --out conf.d --root /etc/nginx/conf.d --check        in CI
    """
    target = TARGETS[server]
    compiled = CompiledPolicy(chosen_policy(policy_file), load_catalog())
    if merge is not None:
        compiled.documents[robots_txt.PATH] = compiled.merged_robots[existing_robots(merge)]
    plan = TargetPlan(compiled)
    folder = Path(out)
    where = root if root is not None else str(folder.resolve())
    if not where.startswith("/"):
        raise CannotRun(f"--root {where} is not absolute; say where DIR is on the server, as /etc/nginx/conf.d")
    try:
        files = {folder / file.path: file for file in target.render(plan, where)}
    except CannotExpress as error:
        raise CannotRun(str(error)) from error
    states = written({path: file.content for path, file in files.items()}, only_check)
    for path in sorted(files):
        click.echo(f"{states[path]:<8}{click.format_filename(path)}")
    for sentence in target.cannot_express(plan):
        click.echo(f"note: {sentence}", err=True)
    ctx.exit(int("stale" in states.values()))
