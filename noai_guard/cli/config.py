"""noai-guard config: the policy as configuration of a web server, a proxy or a static host."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from noai_guard.cli.console import CannotRun
from noai_guard.cli.mapped_works import mapped_works
from noai_guard.cli.nginx_files import NginxFiles, read_nginx
from noai_guard.cli.options import SOCKET_ADDRESS, FileName, chosen_policy, is_given, name_policy, policy_option
from noai_guard.cli.output_files import content_of, documents_below, existing_robots, print_limitations, write_files
from noai_guard.cli.promised_policy import strictest_with_promises
from noai_guard.compiled import CompiledPolicy
from noai_guard.core.site_addresses import site_host
from noai_guard.core.text import closest, printable
from noai_guard.declarations import robots_txt
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import GatewaySetup, Proxy
from noai_guard.socket_address import SocketAddress
from noai_guard.targets import TARGETS
from noai_guard.targets.nginx_inspection import Form, Installation
from noai_guard.targets.nginx_inspection import inspect as inspect_nginx
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.static_hosts import HOSTS
from noai_guard.targets.static_hosts.host import StaticHost, StaticSite
from noai_guard.targets.target import Feature, File, ServerTarget

_SERVERS: Mapping[str, ServerTarget | StaticHost] = {**TARGETS, **HOSTS}
_SECTIONS = {
    "Servers that carry out the policy themselves, or with --ask-gateway ask the gateway": TARGETS.keys() & PROXIES,
    "Servers that carry out the policy themselves": TARGETS.keys() - PROXIES,
    "Static hosts, which get documents and header fields": HOSTS.keys(),
}
"""Heading in the help -> the servers below it."""

_CONDITIONAL = ("root", "merge", "no_merge", "name", "inspect", "gateway", "origin", "ask", "cache", "vercel")
"""Options that only some forms have."""

_FOLDER = FileName(file_okay=False)
_RECORDED = ("name", "merge", "gateway", "origin", "ask", "cache")
"""Options that the files say they were made with."""

_MADE_WITH = re.compile(rb"enerated by `noai-guard config ([^`\n]*)`")
_POLICY = re.compile(rb"^# Policy: (.*)\. Its variables", re.MULTILINE)
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._-]*")


class _ConfigCommand(click.Command):
    """Lists the servers in its help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _SERVERS))
        for title, keys in _SECTIONS.items():
            servers = [(f"{key:<{width}}", server.title) for key, server in _SERVERS.items() if key in keys]
            with formatter.section(title):
                formatter.write_dl(servers)


def _server(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None or value in _SERVERS:
        return value
    match = closest(value, _SERVERS)
    raise CannotRun(f"there is no server {value!r}; {f'did you mean {match}?' if match else 'see noai-guard config'}")


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(key, help=target.title) for key, target in _SERVERS.items() if key.startswith(incomplete)]


def _without_quotes(ctx: click.Context, param: click.Parameter, value: SocketAddress) -> SocketAddress:
    if not value.needs_no_quotes or not (value.path or value.port):
        raise click.BadParameter(f"{str(value)!r} cannot stand in a configuration; choose a plainer one", ctx, param)
    return value


_ADDRESS: Mapping[str, Any] = {
    "type": SOCKET_ADDRESS, "callback": _without_quotes, "show_default": True, "metavar": "ADDRESS",
}  # fmt: skip


@click.command("config", cls=_ConfigCommand)
@click.argument("server", required=False, callback=_server, shell_complete=_complete)
@click.option("--ask-gateway", is_flag=True, help="The configuration with which SERVER asks the gateway.")
@click.option("--out", type=_FOLDER, metavar="DIR", help="Write the files below DIR instead of printing them.")
@click.option("--root", type=FileName(), metavar="DIR", help="Where DIR will be on the server, if it is not here.")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit code 1 if a file below DIR is stale.")
@click.option("--merge", type=FileName(), metavar="ROBOTS.TXT", help="The site's own robots.txt; its rules stay.")
@click.option("--no-merge", is_flag=True, help="Forget the robots.txt of an earlier --merge.")
@click.option("--name", metavar="NAME", help="With nginx: a name for the policy, beside others on the same server.")
@click.option("--inspect", is_flag=False, flag_value="/etc/nginx/nginx.conf", metavar="[FILE|FOLDER|-]",
              help="With nginx: what its configuration loses or leaves unguarded; - reads the output of nginx -T.  "
              "[default: /etc/nginx/nginx.conf]")  # fmt: skip
@click.option("--gateway", default="127.0.0.1:9797", help="With --ask-gateway: where the gateway listens.", **_ADDRESS)
@click.option("--origin", default="127.0.0.1:8080", help="With --ask-gateway: where the site listens.", **_ADDRESS)
@click.option(
    "--ask",
    type=click.Choice(["everybody", "suspects"]),
    default="everybody",
    show_default=True,
    help="With --ask-gateway: whom the proxy asks about; the others are let in, and not counted.",
)
@click.option("--cache", type=_FOLDER, metavar="DIR", help="With --ask-gateway: let the proxy cache verdicts in DIR.")
@click.option("--vercel", type=FileName(), metavar="FILE",
              help="With vercel: the vercel.json.  [default: DIR/vercel.json]")  # fmt: skip
@policy_option
@click.pass_context
def command(
    ctx: click.Context,
    server: str | None,
    ask_gateway: bool,
    out: str | None,
    root: str | None,
    only_check: bool,
    merge: str | None,
    no_merge: bool,
    name: str | None,
    inspect: str | None,
    gateway: SocketAddress,
    origin: SocketAddress,
    ask: str,
    cache: str | None,
    vercel: str | None,
    policy_file: str | None,
) -> None:
    """Write the policy as configuration of SERVER. Without SERVER, list the servers.

    A server carries out the policy by itself: declarations on every response, documents, refusals. With --ask-gateway
    it asks the gateway (`noai-guard serve`) about each request instead; then these files change only with on_unknown
    and with the names of header fields and documents. docs/servers compares the two. A static host gets the documents
    and its file of header fields (_headers, vercel.json); what is in that file and in robots.txt already stays.

    The files say where to include them. What SERVER cannot do of the policy follows on standard error. The same
    policy, catalogue and options give the same files.

    \b
    Examples:
      noai-guard config nginx --out /etc/nginx/conf.d --policy noai.yaml
      noai-guard config nginx --ask-gateway --policy noai.yaml
      nginx -T | noai-guard config nginx --policy noai.yaml --inspect -
      noai-guard config netlify --out public --policy noai.yaml
      noai-guard config nginx --out conf.d --root /etc/nginx/conf.d --check        in CI
    """
    if server is None:
        if any(is_given(ctx, param.name or "") for param in ctx.command.params):
            raise CannotRun("name a SERVER; noai-guard config lists them")
        formatter = ctx.make_formatter()
        ctx.command.format_epilog(ctx, formatter)
        click.echo(formatter.getvalue().strip("\n"))
        return
    if ask_gateway and server not in PROXIES:
        can = f"noai-guard config {server}, without --ask-gateway, writes what it can do by itself"
        raise CannotRun(f"{_SERVERS[server].title} cannot ask the gateway; {can}", exit_code=1)
    target = PROXIES[server] if ask_gateway else _SERVERS[server]
    _reject_inapplicable(ctx, target)
    if only_check and out is None:
        raise CannotRun("--check compares with the files below a folder; name it with --out")
    if name is not None and not _NAME.fullmatch(name):
        raise CannotRun(f"--name {name} is not made of a-z, 0-9, - and .; choose a plainer one, as a-music-site")
    policy, folder = chosen_policy(policy_file), Path(out or ".")
    nginx = None if inspect is None else read_nginx(inspect)
    if nginx is not None and out is None:
        folder = Path(root or nginx.folder / "conf.d")
    destinations: dict[str, Path] = {}
    if isinstance(target, StaticHost):
        compiled, promises = strictest_with_promises(policy, dated=True)
        config_file = destinations[target.config_file] = Path(vercel) if vercel else folder / target.config_file
        site = StaticSite(compiled, tuple(documents_below(folder, compiled, merge)), content_of(config_file) or b"")
        files, limitations = target.render(site, "/"), target.limitations(site)
    elif isinstance(target, Proxy):
        compiled, promises = strictest_with_promises(policy)
        setup = _gateway_setup(compiled, gateway, origin, cache)
        setup = replace(setup, arguments=_arguments(ctx), name=name or "", suspects_only=ask == "suspects")
        root = _absolute(root or (str(folder.resolve()) if out or nginx else target.root)).rstrip("/")
        files = target.render(setup, root)
        lost = _lost_robots(setup.compiled, "noai-guard serve --own-robots")
        if "merge" in target.options:
            merge = _remembered_merge(merge, no_merge, folder, files)
        if merge is not None:
            setup.compiled.merge_own_robots(existing_robots(merge))
            setup = replace(setup, arguments=_arguments(ctx, merge))
            files = target.render(setup, root)
        elif "merge" in target.options and setup.compiled.merges_robots and robots_txt.PATH in setup.compiled.documents:
            kept = "--merge ROBOTS.TXT keeps its rules there too"
            lost = chain(lost, [f"robots.txt, while the gateway does not answer: {kept}."])
        limitations = chain(lost, target.limitations(setup))
    else:
        compiled, promises = strictest_with_promises(policy)
        root = root or str(folder.resolve())
        if not root.startswith("/"):
            raise CannotRun(f"--root {root} is not absolute; name the folder on the server, as /etc/nginx/conf.d")
        works = mapped_works(compiled) if target.maps_works else None
        plan = TargetPlan(compiled, _arguments(ctx), name or "", works)
        files, limitations = target.render(plan, root), target.limitations(plan)
        merge = _remembered_merge(merge, no_merge, folder, files)
        if merge is not None:
            compiled.merge_own_robots(existing_robots(merge))
            plan = TargetPlan(compiled, _arguments(ctx, merge), name or "", works)
            files, limitations = target.render(plan, root), target.limitations(plan)
        elif not no_merge and Feature.DOCUMENTS in target.supports:
            limitations = chain(_lost_robots(compiled, "--merge"), limitations)
    if out is not None and not only_check:
        _reject_other_policy(folder, files)
    current = True
    if out is not None:
        current = write_files({destinations.get(file.path, folder / file.path): file for file in files}, only_check)
    elif inspect is not None:
        pass
    elif isinstance(target, Proxy):
        for file in files:
            click.echo(f"# ---- {root}/{file.path}: {file.note}\n{file.content.decode()}")
    elif len(files) == 1:
        click.echo(files[0].content, nl=False)
    else:
        raise CannotRun(f"{target.title} needs {len(files)} files; name a folder for them with --out")
    print_limitations((*promises, *limitations))
    if nginx is not None:
        name = f"{root}/{files[0].path.removesuffix('.conf')}"
        form: Form = "gateway" if ask_gateway else "compiled"
        documents = tuple(compiled.documents)
        installation = Installation(form, name, documents, site_host(policy.site), merge is not None)
        current = _print_inspection(nginx, installation) and current
    name_policy(policy_file)
    ctx.exit(int(not current))


def _reject_inapplicable(ctx: click.Context, target: ServerTarget | StaticHost | Proxy) -> None:
    """Raise CannotRun for an option that the chosen form would ignore."""
    if isinstance(target, Proxy):
        applicable = {"root", "gateway"} | target.options | ({"no_merge"} if "merge" in target.options else set())
    elif isinstance(target, StaticHost):
        applicable = {"merge"} | ({"vercel"} & {target.key})
    else:
        merging = {"merge", "no_merge"} if Feature.DOCUMENTS in target.supports else set()
        applicable = {"root"} | merging | target.options
    form = f"{target.key} --ask-gateway" if isinstance(target, Proxy) else target.key
    for option in _CONDITIONAL:
        if option not in applicable and is_given(ctx, option):
            raise CannotRun(f"--{option.replace('_', '-')} does not apply to `noai-guard config {form}`; leave it out")


def _print_inspection(nginx: NginxFiles, installation: Installation) -> bool:
    """Print what an nginx configuration loses or leaves unguarded. Return True if there is nothing."""
    problems = inspect_nginx(nginx.main, installation, lambda path: (nginx.folder / path).is_file())
    for problem in problems:
        click.secho(printable(str(problem)), fg="yellow" if problem.warning else "red")
    count = sum(not problem.warning for problem in problems)
    click.echo(f"{count} problem{'s' * (count != 1)}" if count else "fine: nothing is lost, and nothing is unguarded")
    return count == 0


def _arguments(ctx: click.Context, merge: str | None = None) -> str:
    """Return the arguments that the files were made with, as their first lines say them."""
    values = {option: str(ctx.params[option]) for option in _RECORDED if is_given(ctx, option)}
    if merge is not None:
        values["merge"] = merge
    text = "".join(f" --{option} {shlex.quote(value)}" for option, value in values.items())
    if not text.isprintable() or "`" in text:
        raise CannotRun(f"{text.strip()} cannot stand in the comment of a file; choose a plainer name")
    return text


def _lost_robots(compiled: CompiledPolicy, keep: str) -> Iterator[str]:
    """Yield what becomes of the site's own robots.txt, and how its rules are kept."""
    if compiled.merges_robots and robots_txt.PATH in compiled.documents:
        yield f"robots.txt: if the site has its own, it is not sent any more; {keep} ROBOTS.TXT keeps its rules."


def _remembered_merge(merge: str | None, no_merge: bool, folder: Path, files: Sequence[File]) -> str | None:
    """Return the site's own robots.txt: the one that was named, or that of an earlier run."""
    if merge is None and not no_merge and (merge := _made_with(folder, files, "--merge")) is not None:
        print_limitations([f"--merge {merge}, as before (--no-merge forgets it)."])
    return merge


def _made_with(folder: Path, files: Iterable[File], option: str) -> str | None:
    """Return the value of an option that the files below a folder say they were made with."""
    for file in files:
        for match in _MADE_WITH.finditer(content_of(folder / file.path) or b""):
            words = shlex.split(match[1].decode("utf-8", "replace"))
            if option in words[:-1]:
                return words[words.index(option) + 1]
    return None


def _reject_other_policy(folder: Path, files: Iterable[File]) -> None:
    """Raise CannotRun if a file that would be replaced belongs to another policy."""
    for file in files:
        ours, theirs = _POLICY.search(file.content), _POLICY.search(content_of(folder / file.path) or b"")
        if ours and theirs and ours[1] != theirs[1]:
            path, old, new = folder / file.path, theirs[1].decode("utf-8", "replace"), ours[1].decode()
            beside = f"--name {new if _NAME.fullmatch(new) else 'NAME'} writes this one beside it"
            raise CannotRun(f"{path} is of the policy {old}, and this one is {new}; {beside}, or delete that file")


def _gateway_setup(
    compiled: CompiledPolicy, gateway: SocketAddress, origin: SocketAddress, cache: str | None
) -> GatewaySetup:
    trusted = compiled.policy.trusted_proxies
    if not (trusted.unix if gateway.path else trusted.peers):
        peer = "unix:" if gateway.path else "127.0.0.1"
        add = f'trusted_proxies: {{peers: ["{peer}"], header: x-forwarded-for}}'
        raise CannotRun(f"the policy lets no proxy ask the gateway; add {add}")
    return GatewaySetup(compiled, gateway, origin, _absolute(cache) if cache else None)


def _absolute(folder: str) -> str:
    """Return the path of a folder that needs no quoting in any configuration."""
    if not _PLAIN_PATH.fullmatch(folder):
        raise CannotRun(f"{folder} is not an absolute path of letters, digits and / . _ -; choose another")
    return folder
