"""Real servers that write access logs, each in the format that it writes by itself or by a line of configuration."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers import free_port, packaged_program
from tests.targets.web_servers import (
    apache_main,
    caddy_command,
    nginx_main,
    program,
    readable_folder,
    recording_origin,
    running,
)

Started = Callable[[Path, int, Path], list[str]]
"""Folder, port, file of the log -> command."""


def _nginx(form: str) -> Started:
    def command(folder: Path, port: int, log: Path) -> list[str]:
        http = (
            'log_format main \'$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
            '"$http_referer" "$http_user_agent" "$http_x_forwarded_for" $request_time\';\n'
            'log_format json escape=json \'{"time":"$time_iso8601","remote_addr":"$remote_addr","request":"$request",'
            '"status":"$status","bytes":"$body_bytes_sent","http_referer":"$http_referer","ua":"$http_user_agent"}\';\n'
            f"server {{ listen 127.0.0.1:{port}; access_log {log} {form}; merge_slashes off;\n"
            'location / { return 200 "ok"; } }'
        )
        (folder / "nginx.conf").write_text(nginx_main(folder, http))
        return [program("nginx"), "-c", str(folder / "nginx.conf")]

    return command


def _apache(form: str) -> Started:
    def command(folder: Path, port: int, log: Path) -> list[str]:
        (folder / "site").mkdir(exist_ok=True)
        vhost = (
            f"DocumentRoot {folder}/site\nAllowEncodedSlashes NoDecode\n"
            r'LogFormat "%v:%p %h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" vhost_combined'
            "\n"
            r'LogFormat "%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" combined'
            "\n"
            rf'LogFormat "%h %l %u %t \"%r\" %>s %O" common{chr(10)}CustomLog {log} {form}'
            "\nRewriteEngine On\nRewriteRule ^ - [R=200]\n"
        )
        main = apache_main(folder, port, vhost)
        return [program("apache2"), "-f", str(main), "-DFOREGROUND"]

    return command


def _caddy(folder: Path, port: int, log: Path) -> list[str]:
    file = folder / "Caddyfile"
    file.write_text(
        "{\n\tadmin off\n\tauto_https off\n}\n"
        f"http://127.0.0.1:{port}, http://music.example:{port} {{\n\tbind 127.0.0.1\n"
        '\tlog\n\trespond "ok" 200\n}\n'
    )
    return caddy_command(program("caddy"), file)


def _haproxy(folder: Path, port: int, log: Path) -> list[str]:
    (folder / "haproxy.cfg").write_text(
        "global\n    maxconn 200\n    log stdout format raw local0\ndefaults\n    mode http\n    log global\n"
        "    option httplog\n    timeout connect 5s\n    timeout client 20s\n    timeout server 20s\n"
        f"frontend site\n    bind 127.0.0.1:{port}\n    capture request header Referer len 200\n"
        "    capture request header User-Agent len 400\n"
        '    http-request return status 200 content-type text/plain string "ok"\n'
    )
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def _traefik(form: str) -> Started:
    def command(folder: Path, port: int, log: Path) -> list[str]:
        rendered = folder / "dynamic"
        rendered.mkdir(exist_ok=True)
        (folder / "traefik.yml").write_text(
            "global: {checkNewVersion: false, sendAnonymousUsage: false}\n"
            f'entryPoints: {{web: {{address: "127.0.0.1:{port}", http: {{sanitizePath: false, encodedCharacters: '
            "{allowEncodedSlash: true, allowEncodedBackSlash: true, allowEncodedPercent: true}}}}\n"
            f"providers: {{file: {{directory: {rendered}}}}}\nlog: {{level: ERROR}}\n"
            f"accessLog: {{filePath: {log}, format: {form}, fields: {{headers: {{names: "
            "{User-Agent: keep, Referer: keep}}}}\n"
        )
        origin = (folder / "origin").read_text()
        (rendered / "site.yml").write_text(
            "http:\n  routers: {site: {rule: 'PathPrefix(`/`)', service: site}}\n"
            f'  services: {{site: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{origin}"}}]}}}}}}\n'
        )
        return [packaged_program("traefik"), f"--configFile={folder / 'traefik.yml'}"]

    return command


SERVERS: Mapping[str, tuple[Started, str]] = {
    "nginx combined": (_nginx("combined"), "combined"),
    "nginx with more fields": (_nginx("main"), "combined"),
    "nginx JSON": (_nginx("json"), "json"),
    "Apache combined": (_apache("combined"), "combined"),
    "Apache vhost_combined": (_apache("vhost_combined"), "vhost_combined"),
    "Apache common": (_apache("common"), "common"),
    "Caddy": (_caddy, "caddy"),
    "HAProxy": (_haproxy, "haproxy"),
    "Traefik common": (_traefik("common"), "combined"),
    "Traefik JSON": (_traefik("json"), "traefik"),
}
"""Server and form -> how it is started, and the name of the format that it writes."""


@contextmanager
def logging(name: str) -> Iterator[tuple[int, Path]]:
    """Run a server; HAProxy and Caddy log to their standard output, a file of `running`. Yield its port and the file of its log. The log is complete when the server has ended."""
    started, _ = SERVERS[name]
    with readable_folder() as folder, recording_origin() as (origin, _):
        (folder / "origin").write_text(str(origin))
        port = free_port()
        log = folder / ("server.log" if name in ("HAProxy", "Caddy") else "access.log")
        folder.chmod(0o777)
        command = started(folder, port, log)
        with running(command, port, folder):
            yield port, log
