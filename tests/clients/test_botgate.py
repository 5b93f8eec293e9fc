"""botgate, a program that tampers with signed requests, finds no way past the guard."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.servers import Server, free_port, packaged_program

_APP = """\
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from noai_guard import NoAIMiddleware


async def song(request):
    verdict = request.scope["noai_guard.verdict"]
    proven = "true" if verdict.rule == "partner:botgate" else "false"
    return PlainTextResponse("a song", headers={"x-agent-authenticated": proven})


app = Starlette(routes=[Route("/{path:path}", song)])
app.add_middleware(NoAIMiddleware, policy="noai.yaml")
"""

# Our window and skew in place of botgate's own.
_CONFIG = """\
[policy]
require_authority = true
require_method = true
require_path = true
query = "required"
body = "ignore"
max_age_seconds = 86400
max_lifetime_seconds = 86400
allowed_future_skew_seconds = 60
require_nonce = false
"""


def test_botgate_is_let_in_with_its_signature_and_with_no_other(server: Callable[..., Server], tmp_path: Path) -> None:
    botgate = packaged_program("botgate")
    keys = tmp_path / "keys"
    subprocess.run([botgate, "init", "--directory", keys], cwd=tmp_path, check=True, capture_output=True)
    port = free_port()
    (tmp_path / "noai.yaml").write_text(
        f"signatures: {{hosts: ['127.0.0.1:{port}'], keys: {{https://agent.example: keys/directory.json}}}}\n"
        "mode: monitor\nusages: {unknown-bot: no}\n"  # so that the app says whom it was told of
        "partners:\n"
        "- {name: botgate, proof: {signature: {directory: https://agent.example}}, usages: train-ai}\n"
    )
    (tmp_path / "signed_site.py").write_text(_APP)
    (tmp_path / "botgate.toml").write_text(_CONFIG)
    server("uvicorn-h11", "signed_site:app", tmp_path, port=port)
    outcome = subprocess.run(
        [
            *(botgate, "test", f"http://127.0.0.1:{port}/tracks/1?a=b", "--agent", "https://agent.example"),
            *("--key", keys / "private.key", "--jwk", keys / "public.jwk", "--jwks", keys / "directory.json"),
            *("--allow-http", "--allow-private-target", "--format", "json", "--config", "botgate.toml"),
            *("--auth-header", "x-agent-authenticated"),
            *("--authenticated-value", "true", "--unauthenticated-value", "false"),
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert outcome.stdout, outcome.stderr
    failed = [case for case in _cases(json.loads(outcome.stdout)) if not case["passed"]]
    assert not failed
    assert outcome.returncode == 0, outcome.stdout


def _cases(report: Any) -> Iterator[dict[str, Any]]:
    """Yield every case of a report, wherever it stands."""
    if isinstance(report, dict):
        if "passed" in report and "name" in report:
            yield report
        report = list(report.values())
    for each in report if isinstance(report, list) else ():
        yield from _cases(each)
