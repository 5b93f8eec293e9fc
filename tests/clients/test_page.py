"""The page shows what is tested, and nothing else. That the cells are true, each client's own test checks."""

from pathlib import Path

from tests.clients import page


def test_every_client_of_the_table_has_a_test() -> None:
    tests = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    clients = page.described()
    assert len(clients) > 20
    assert [client for client in clients if f'"{client}"' not in tests] == []
