"""Every form of address leads to a real server; none shows its password."""

import contextlib
import subprocess
import time
from pathlib import Path

import pytest
import trustme

from noai_guard.core.questions import Count, FirstUse, Keep, Lookup
from noai_guard.errors import Unanswered
from noai_guard.stores.addresses import full_address, is_shared, open_store, printable_address, problem_of_address
from noai_guard.stores.remote import RemoteStore
from tests.servers import free_port
from tests.stores.shared_servers import program, running, wait_for

PATIENT = 5.0


def answers(address: str) -> bool:
    """Return True if all questions are answered there."""
    store, _ = open_store(address, "https://music.example", PATIENT)
    assert isinstance(store, RemoteStore)
    store.start()
    wait_for(lambda: store.processes or store.problem)
    assert not store.problem
    try:
        assert store.answer(Count("a", 3600, time.monotonic(), 10)) == 1
        assert store.answer(FirstUse("a", 60, 0.0))
        assert store.answer(Keep("a", "b", 60, 0.0))
        return bool(store.answer(Lookup("a", 0.0)) == "b")
    finally:
        store.close()


def test_a_database_by_number_and_a_user_with_a_password(tmp_path: Path) -> None:
    with running("redis", tmp_path) as server:
        server.client().execute_command("ACL", "SETUSER", "noai", "on", ">p%w", "~{noai:*", "+@all")
        assert answers(f"redis://noai:p%25w@127.0.0.1:{server.port}/3")
        assert server.client(db=3).dbsize()
        assert not server.client(db=0).dbsize()


@pytest.mark.parametrize("form", ["unix:{}", "unix://{}", "unix://{}?db=1"])
def test_a_socket(tmp_path: Path, form: str) -> None:
    with running("valkey", tmp_path, "--unixsocket", str(tmp_path / "s")):
        assert answers(form.format(tmp_path / "s"))


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    port = free_port()
    options = (
        "--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(tmp_path / "ca.pem"),
        "--tls-cert-file", str(tmp_path / "server.pem"), "--tls-key-file", str(tmp_path / "server.pem"),
    )  # fmt: skip
    with running("redis", tmp_path, *options):
        assert answers(f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'ca.pem'}")
        store, _ = open_store(f"rediss://localhost:{port}", "x", PATIENT)
        assert isinstance(store, RemoteStore)
        store.start()
        wait_for(lambda: store.problem)
        store.close()


def test_a_cluster(tmp_path: Path) -> None:
    with running("redis", tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        client = server.client()
        client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        wait_for(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        assert answers(f"redis+cluster://127.0.0.1:{server.port}")
        client.close()


def test_a_sentinel_names_the_master(tmp_path: Path) -> None:
    with running("redis", tmp_path) as server:
        port = free_port()
        config = tmp_path / "sentinel.conf"
        config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor music 127.0.0.1 {server.port} 1\n")
        sentinel = subprocess.Popen([program("redis"), str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        try:
            import redis

            with redis.Redis(port=port) as client:

                def is_there() -> bool:
                    with contextlib.suppress(redis.RedisError):
                        return bool(client.ping())
                    return False

                wait_for(is_there)
            assert answers(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/music/0")
        finally:
            sentinel.kill()
            sentinel.wait()


SECRETS = [
    "redis://me:horse@10.0.0.5:6379/0?password=horse",
    "rediss://:horse@10.0.0.5",
    "unix:/run/redis.sock?password=horse",
    "redis+sentinel://me:ho%20rse@a:1,b:2/music?password=horse",
]


@pytest.mark.parametrize("address", SECRETS)
def test_no_password_is_shown(address: str) -> None:
    assert not problem_of_address(address)
    shown = printable_address(address)
    assert "horse" not in shown
    assert "rse" not in shown
    assert "10.0.0.5" in shown or "redis.sock" in shown or "a:1,b:2" in shown
    store, _ = open_store(address, "x")
    assert isinstance(store, RemoteStore)
    assert "rse" not in store.name


@pytest.mark.parametrize(
    "address", ["memory", "memory:", "embedded", "embedded:", "embedded:/run/x", "redis://h", *SECRETS]
)
def test_what_is_an_address(address: str) -> None:
    assert not problem_of_address(full_address(address))
    assert is_shared(full_address(address)) is not address.startswith("memory")


@pytest.mark.parametrize(
    "address",
    ["", "redis", "localhost:6379", "http://h", "redis://", "redis:///0", "redis://h:x", "redis://h:0", "redis://h/music",
     "unix:", "unix:s", "embedded:s", "redis+sentinel://h:1", "redis+sentinel:///music", "redis://[::1", "memory:x"],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    assert problem_of_address(full_address(address))
    with pytest.raises(ValueError, match="not the address of a store"):
        open_store(address, "x")


def test_an_embedded_server_that_cannot_start_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program("valkey")
    monkeypatch.setattr("sys.executable", "/bin/false")
    store, _ = open_store(f"embedded:{tmp_path / 'server'}", "x", PATIENT)
    assert isinstance(store, RemoteStore)
    store.start()
    wait_for(lambda: store.problem)
    with pytest.raises(Unanswered, match="does not start"):
        store.answer(FirstUse("a", 60, 0.0))
    store.close()
