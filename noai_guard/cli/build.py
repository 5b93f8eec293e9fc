"""noai-guard build: the declarations as files, for a site that serves them itself."""

from pathlib import Path

import click

from noai_guard.audit.finding import Severity
from noai_guard.audit.robots_before import robots_findings
from noai_guard.cli.options import FileName, chosen_policy, name_policy, policy_option
from noai_guard.cli.output_files import documents_below, print_limitations, write_files
from noai_guard.cli.promised_policy import compiled_with_promises
from noai_guard.compiled import CompiledPolicy
from noai_guard.core.model import Document
from noai_guard.core.text import printable
from noai_guard.declarations import robots_txt
from noai_guard.targets.static_hosts.host import document_files, page_tags


@click.command("build")
@click.option("--out", type=FileName(), required=True, metavar="DIR", help="Where to write; the site's root.")
@click.option("--merge", type=FileName(), metavar="ROBOTS.TXT", help="The site's own robots.txt; its rules stay.")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit code 1 if a file is stale.")
@policy_option
@click.pass_context
def command(ctx: click.Context, out: str, merge: str | None, only_check: bool, policy_file: str | None) -> None:
    """Write the documents of the policy below DIR: robots.txt, .well-known/tdmrep.json, the page for people ...

    The rules of a robots.txt that is there already stay. Header fields are in none of these files:
    `noai-guard config` writes them for web servers and static hosts.

    Each file is replaced at once or not at all, and only if its content changed; the day in robots.txt is that of
    the last change (SOURCE_DATE_EPOCH sets it). Beside each stands its media type. Then follows, on standard error,
    what `noai-guard audit` would say against this robots.txt (with --check, an error is exit code 1 too), and what
    these files cannot declare.

    \b
    Examples:
      noai-guard build --out public --policy noai.yaml
      noai-guard build --out public --merge robots.source.txt
      noai-guard build --out public --check          in CI
    """
    compiled, notes = compiled_with_promises(chosen_policy(policy_file))
    folder = Path(out)
    documents = tuple(documents_below(folder, compiled, merge))
    files = {folder / file.path: file for file in document_files(documents)}
    current = write_files(files, only_check)
    for document in documents:
        if document.path == robots_txt.PATH and not _is_clean(compiled, document, folder) and only_check:
            current = False
    print_limitations((*notes, *compiled.limitations))
    if compiled.site_declared.fields:
        print_limitations(["the header fields are in no file: `noai-guard config` writes them, `explain` shows them."])
    print_limitations(page_tags(compiled))
    name_policy(policy_file)
    ctx.exit(int(not current))


def _is_clean(compiled: CompiledPolicy, robots: Document, folder: Path) -> bool:
    """Print the findings of the audit about a robots.txt, but for mere notes. Return True if none is an error."""
    fields = compiled.site_declared.fields
    found = robots_findings(robots, fields, compiled.catalog, compiled.policy.site.url)
    for finding in found:
        rule = finding.rule
        if rule.severity is not Severity.NOTE:
            place = f"{folder / 'robots.txt'}{f':{finding.line}' if finding.line else ''}"
            detail = f" ({finding.detail})" if finding.detail else ""
            text = f"{place}: {rule.severity}: {rule.code} {rule.title}{detail}; {rule.fix}"
            click.echo(printable(text), err=True)
    return not any(finding.rule.severity is Severity.ERROR for finding in found)
