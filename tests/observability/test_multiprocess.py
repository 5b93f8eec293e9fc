"""Worker slots: the files of all workers say together what was counted, however many workers have ended, and how."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from tests.observability.counting_process import names, run, samples, start, total

BROKEN = b"\x00", b"\xff" * 100, b"\x10\x00\x00\x00" + b"\xff" * 60
POLICY_IN_FORCE = "telemetry.set_policy(compiled.policy, 'abc', 10)\n"


@contextmanager
def running(folder: Path, code: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that has run `code` and waits."""
    process = start(folder, f"{code}\nprint('ready', flush=True)\nsys.stdin.readline()\n")
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def write(folder: Path, kind: str, process: str, name: str, value: float, **labels: str) -> None:
    """Write a file as prometheus_client does for a metric of the app."""
    file = MmapedDict(str(folder / f"{kind}_{process}.db"))
    file.write_value(mmap_key(name, name, list(labels), list(labels.values()), "Help."), value, 0.0)
    file.close()


def test_after_a_hundred_workers_of_which_half_were_killed_every_count_is_there_and_the_files_are_few(
    tmp_path: Path,
) -> None:
    code = """
for generation in range(25):
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            for _ in range(100):
                counts.requests += 1
                flush()
            if number % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
"""
    run(tmp_path, code)
    assert total(tmp_path, "noai_requests_total") == 10_000
    slots = names(tmp_path, "*.lock")
    assert len(slots) <= 5  # the parent, and four children at once
    assert names(tmp_path) <= {
        f"{kind}_{slot.removesuffix('.lock')}.db"
        for kind in ("counter", "histogram", "gauge_livemostrecent")
        for slot in slots
    }


def test_a_worker_goes_on_in_the_files_of_the_one_before(tmp_path: Path) -> None:
    for _ in range(3):
        run(tmp_path, "counts.requests += 2; counts.bytes += 10; telemetry.judged_in(0.05)")
    assert names(tmp_path, "*.lock") == {"noai0.lock"}
    assert total(tmp_path, "noai_requests_total") == 6
    assert total(tmp_path, "noai_response_body_bytes_total") == 30
    assert total(tmp_path, "noai_judging_seconds_count") == 3
    assert total(tmp_path, "noai_judging_seconds_sum") == pytest.approx(0.15)


def test_workers_that_run_at_once_have_a_slot_each(tmp_path: Path) -> None:
    with running(tmp_path, "counts.requests += 1; flush()"), running(tmp_path, "counts.requests += 2; flush()"):
        assert names(tmp_path, "*.lock") == {"noai0.lock", "noai1.lock"}
    assert total(tmp_path, "noai_requests_total") == 3


def test_a_forked_child_claims_a_slot_of_its_own_and_does_not_hold_its_parents(tmp_path: Path) -> None:
    code = """
counts.requests += 5
flush()
ready, go = os.pipe(), os.pipe()
if os.fork() == 0:
    counts.requests += 1
    flush()
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    os._exit(0)
os.read(ready[0], 1)
print(sorted(os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"])))
os.write(go[1], b"x")
os.wait()
if os.fork() == 0:
    print("child", os.getpid(), flush=True)
    sys.stdin.readline()
    os._exit(0)
"""
    process = start(tmp_path, code)
    assert process.stdout
    assert "'noai1.lock'" in process.stdout.readline()
    child = int(process.stdout.readline().split()[1])
    process.wait(timeout=60)
    try:
        run(tmp_path, "counts.requests += 1")  # while a child lives that never counted
        assert names(tmp_path, "*.lock") == {"noai0.lock", "noai1.lock"}
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()
    assert total(tmp_path, "noai_requests_total") == 7


def test_a_fork_that_python_does_not_hear_of_still_gives_a_slot_of_its_own(tmp_path: Path) -> None:
    """As in uWSGI, which forks in C and runs no hooks by default."""
    code = """
import ctypes
counts.requests += 5
flush()
read, write = os.pipe()
child = ctypes.PyDLL(None).fork()
if child == 0:
    telemetry.metrics.documents.labels("/robots.txt").inc()
    os.write(write, b"x")
    signal.pause()
os.read(read, 1)
print(*os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
os.kill(child, signal.SIGKILL)
"""
    assert "noai1.lock" in run(tmp_path, code).split()
    assert total(tmp_path, "noai_documents_served_total") == 1


def test_the_policy_of_a_worker_that_has_ended_is_not_in_force_any_more(tmp_path: Path) -> None:
    with running(tmp_path, POLICY_IN_FORCE + "counts.requests += 1; flush()") as worker:
        assert total(tmp_path, "noai_policy_info") == 1
        assert total(tmp_path, "noai_catalogue_agents") == 10
        worker.kill()
        worker.wait()
        assert total(tmp_path, "noai_policy_info") == 0
        assert total(tmp_path, "noai_requests_total") == 1


def test_a_worker_does_not_say_what_the_one_before_it_in_its_slot_said(tmp_path: Path) -> None:
    run(tmp_path, POLICY_IN_FORCE + "telemetry.reload_failed()")
    with running(tmp_path, "telemetry.set_policy(load_stance('no-training'), 'abc', 10)"):
        assert names(tmp_path, "*.lock") == {"noai0.lock"}
        stances = [dict(labels)["stance"] for (name, labels), value in samples(tmp_path).items()
                   if name == "noai_policy_info" and value]  # fmt: skip
        assert stances == ["no-training"]
        assert total(tmp_path, "noai_reload_failed") == 0


def test_metrics_of_the_app_keep_the_files_that_prometheus_client_gives_them(tmp_path: Path) -> None:
    code = """
plays = prometheus_client.Counter("app_plays", "The app's own.")
playing = prometheus_client.Gauge("app_playing", "The app's own.")
plays.inc(3)
playing.set(2)
counts.requests += 1
flush()
"""
    with running(tmp_path, code) as first, running(tmp_path, code) as second:
        pids = {str(first.pid), str(second.pid)}
    assert names(tmp_path, "*_[0-9]*.db") == {f"{kind}_{pid}.db" for kind in ("counter", "gauge_all") for pid in pids}
    found = samples(tmp_path)
    assert found["app_plays_total", ()] == 6
    assert {labels for name, labels in found if name == "app_playing"} == {(("pid", pid),) for pid in pids}
    assert not [name for name in names(tmp_path) if "noai" in name and name.startswith("gauge_all")]


def test_files_of_an_app_that_names_them_otherwise_are_read_and_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "counter", "uwsgi-3", "c_total", 5)
    write(tmp_path, "gauge_livesum", "3", "g", 4)
    assert samples(tmp_path) == {("c_total", ()): 5, ("g", ()): 4}
    assert names(tmp_path) == {"counter_uwsgi-3.db", "gauge_livesum_3.db"}


def test_prometheus_client_alone_finds_the_same_totals(tmp_path: Path) -> None:
    run(tmp_path, "counts.requests += 3; telemetry.judged_in(0.05)")
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))
    alone = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in registry.collect()
        for sample in family.samples
        if family.type != "gauge"
    }
    assert alone == samples(tmp_path)


def test_a_process_reports_what_it_counted_itself_also_in_a_slot_that_was_used_before(tmp_path: Path) -> None:
    """OpenTelemetry adds up what the processes report."""
    run(tmp_path, "counts.requests += 3")
    output = run(tmp_path, """
counts.requests += 4
flush()
print(sum(sample.value for family in telemetry.metrics.requests.collect() for sample in family.samples
          if sample.name == "noai_requests_total"))
""")  # fmt: skip
    assert output == "4.0\n"
    assert total(tmp_path, "noai_requests_total") == 7


def test_readers_never_see_a_total_too_small_or_too_large_while_workers_come_and_go(tmp_path: Path) -> None:
    code = """
for worker in range(60):
    sys.stdin.readline()
    if os.fork() == 0:
        telemetry.metrics.documents.labels("/robots.txt").inc()
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
    print(worker + 1, flush=True)
"""
    ended = 0
    wrong: list[object] = []
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                at_least = ended
                counted = total(tmp_path, "noai_documents_served_total")
                if not at_least <= counted <= ended + 1:
                    wrong.append((at_least, counted, ended))
        except BaseException as error:
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    with start(tmp_path, code) as process:
        assert process.stdin
        assert process.stdout
        for _ in range(60):
            process.stdin.write("next\n")
            process.stdin.flush()
            ended = int(process.stdout.readline())
    over.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert total(tmp_path, "noai_documents_served_total") == 60
    assert len(names(tmp_path, "*.lock")) <= 2 + len(readers)


@pytest.mark.parametrize("content", [b"", *BROKEN], ids=len)
def test_a_broken_file_hides_no_other(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "counter", "1", "c_total", 2)
    (tmp_path / "counter_2.db").write_bytes(content)
    assert samples(tmp_path) == {("c_total", ()): 2}
    assert all("counter_2.db cannot be read" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("content", BROKEN, ids=len)
def test_a_worker_starts_in_a_slot_whose_files_are_broken_and_sets_them_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "counter_noai0.db").write_bytes(content)
    run(tmp_path, "counts.requests += 1")
    assert total(tmp_path, "noai_requests_total") == 1
    assert names(tmp_path, "*.broken") == {"counter_noai0.broken"}
