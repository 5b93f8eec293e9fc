"""What is imported where: Starlette only by ASGI apps of ours, private parts of prometheus_client in one module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import noai_guard

PACKAGE = Path(noai_guard.__file__).parent
ADAPTER = PACKAGE / "observability" / "prometheus_adapter.py"
PUBLIC = {
    "prometheus_client",
    "prometheus_client.core",
    "prometheus_client.exposition",
    "prometheus_client.registry",
}
PRIVATE_ATTRIBUTES = {"_buckets", "_labelnames", "_labelvalues", "_multiprocess", "_sum", "_upper_bounds"}


@pytest.mark.parametrize(
    "code",
    [
        "import noai_guard",
        "from noai_guard import NoAIWSGIMiddleware; NoAIWSGIMiddleware(lambda environ, start_response: [])",
        "from noai_guard import NoAIMiddleware; NoAIMiddleware(None)",
        "from noai_guard.observability.metrics_wsgi_app import metrics_wsgi_app; metrics_wsgi_app()",
    ],
)
def test_starlette_is_not_imported(code: str) -> None:
    code += "\nimport sys; sys.exit('starlette' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_adapter_uses_private_parts_of_prometheus_client(module: Path) -> None:
    imported = set()
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module} | {f"{node.module}.{name.name}" for name in node.names if name.name == "values"}
        elif isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    private = (
        attributes & PRIVATE_ATTRIBUTES
        | {name for name in imported if name.partition(".")[0] == "prometheus_client"} - PUBLIC
    )
    assert module == ADAPTER or not private
