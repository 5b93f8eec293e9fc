"""`python -m examples.monitoring.dashboards` writes the dashboards' JSON; `--check` only compares."""

import sys
from pathlib import Path

from ..panels import to_json
from . import BOARDS

FOLDER = Path(__file__).resolve().parent.parent / "grafana"


def main(arguments: list[str]) -> int:
    files = {FOLDER / f"{board.uid}.json": to_json(board) for board in BOARDS}
    if arguments == ["--check"]:
        on_disk = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
        different = sorted(path.name for path in files.keys() | on_disk if files.get(path) != on_disk.get(path))
        if different:
            print(f"not current: {', '.join(different)}; run python -m examples.monitoring.dashboards", file=sys.stderr)
        return int(bool(different))
    if arguments:
        print("usage: python -m examples.monitoring.dashboards [--check]", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
