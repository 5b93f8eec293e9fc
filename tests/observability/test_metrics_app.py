"""/metrics, and that the files of workers say together what was counted, however many of them have died."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from noai_guard import metrics_app
from noai_guard.observability import multiprocess
from noai_guard.observability.multiprocess import MOST_DEAD, WorkersCollector, fold_dead
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, guarded, http, websocket

FULL = os.environ.get("NOAI_FULL") == "1"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def dead_pids() -> Iterator[int]:
    """Numbers of no process: above every pid_max."""
    return iter(range(5_000_000, 6_000_000))


def write(folder: Path, kind: str, pid: int | str, name: str, value: float, at: float = 0.0, **labels: str) -> None:
    file = MmapedDict(str(folder / f"{kind}_{pid}.db"))
    metric = name.removesuffix("_bucket").removesuffix("_sum")
    key = mmap_key(metric, name, list(labels), list(labels.values()), "Help.")
    file.write_value(key, file.read_value(key)[0] + value if at == 0.0 else value, at)
    file.close()


def samples(folder: Path) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in WorkersCollector(folder).collect()
        for sample in metric.samples
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of workers, of which this process is one."""
    return worker_folder(tmp_path)


def worker_folder(path: Path) -> Path:
    write(path, "counter", os.getpid(), "c_total", 1, who="living")
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.db")}


def test_counters_and_histograms_of_the_dead_are_kept_exactly(folder: Path) -> None:
    for pid, _ in zip(dead_pids(), range(20), strict=False):
        write(folder, "counter", pid, "c_total", 3, who="dead")
        write(folder, "histogram", pid, "h_bucket", 1, le="1.0")
        write(folder, "histogram", pid, "h_bucket", 2, le="+Inf")
        write(folder, "histogram", pid, "h_sum", 0.5)
        write(folder, "summary", pid, "s_sum", 2)
    before = samples_unfolded(folder)
    fold_dead(folder)
    assert samples(folder) == before
    assert before["c_total", (("who", "dead"),)] == 60
    assert before["h_count", ()] == 60
    assert names(folder) == {
        f"counter_{os.getpid()}.db", "counter_folded.db", "histogram_folded.db", "summary_folded.db"
    }  # fmt: skip


def samples_unfolded(folder: Path) -> Samples:
    """As prometheus_client reads the folder, without a lock and without folding."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in MultiProcessCollector.merge([str(path) for path in folder.glob("*.db")])
        for sample in metric.samples
    }


def test_prometheus_client_alone_reads_a_folded_folder_alike(folder: Path) -> None:
    for pid, _ in zip(dead_pids(), range(3), strict=False):
        write(folder, "counter", pid, "c_total", 3, who="dead")
        write(folder, "gauge_max", pid, "m", pid)
    fold_dead(folder)
    assert samples_unfolded(folder) == samples(folder)


def test_gauges_of_the_dead_are_treated_as_their_mode_says(folder: Path) -> None:
    pids = [pid for pid, _ in zip(dead_pids(), range(3), strict=False)]
    for value, pid in enumerate(pids, 1):
        for mode in ("min", "max", "sum", "livemin", "livemax", "livesum", "livemostrecent", "liveall", "all"):
            write(folder, f"gauge_{mode}", pid, mode, value, 50 - value)
        write(folder, "gauge_mostrecent", pid, "mostrecent", value, 50 - value)
    expected = {("min", ()): 1, ("max", ()): 3, ("sum", ()): 6, ("mostrecent", ()): 1}
    expected |= {("all", (("pid", str(pid)),)): value for value, pid in enumerate(pids, 1)}
    expected[("c_total", (("who", "living"),))] = 1
    assert samples(folder) == expected
    fold_dead(folder)
    assert samples(folder) == expected
    assert not [name for name in names(folder) if "live" in name]


def test_gauges_by_process_number_stay_bounded(folder: Path) -> None:
    for age, pid in enumerate(range(5_000_000, 5_000_100)):
        write(folder, "gauge_all", pid, "g", age)
        os.utime(folder / f"gauge_all_{pid}.db", (age, age))
    fold_dead(folder)
    kept = sorted(value for (name, _), value in samples(folder).items() if name == "g")
    assert kept == list(range(100 - MOST_DEAD, 100))


def test_files_of_the_living_are_left_alone(folder: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        write(folder, "counter", other.pid, "c_total", 5, who="other")
        fold_dead(folder)
        assert f"counter_{other.pid}.db" in names(folder)
    finally:
        other.communicate()
    fold_dead(folder)
    assert f"counter_{other.pid}.db" not in names(folder)
    assert samples(folder)["c_total", (("who", "other"),)] == 5


def test_files_not_named_by_process_number_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "counter", 5_000_000, "c_total", 5, who="uwsgi worker")
    fold_dead(tmp_path)
    assert names(tmp_path) == {"counter_5000000.db"}


def test_a_new_process_with_the_number_of_a_dead_one_keeps_what_it_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has opened the dead one's file after that was found dead and before it was set aside."""
    write(folder, "counter", 5_000_000, "c_total", 5, who="reborn")
    opened = MmapedDict(str(folder / "counter_5000000.db"))
    answers = iter([False, False, True])
    alive = multiprocess._is_alive
    monkeypatch.setattr(multiprocess, "_is_alive", lambda pid: next(answers, True) if pid == 5_000_000 else alive(pid))
    fold_dead(folder)
    (key,) = (key for key, _, _ in opened.read_all_values())
    opened.write_value(key, 6, 0.0)
    opened.close()
    monkeypatch.undo()
    fold_dead(folder)
    assert samples(folder)["c_total", (("who", "reborn"),)] == 6


@settings(max_examples=60 if FULL else 15, deadline=None)
@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=6), st.integers(0, 14))
def test_a_fold_that_is_killed_at_any_step_loses_and_doubles_nothing(values: list[int], step: int) -> None:
    """Every change of the folder happens through these calls; the process ends before the one numbered `step`."""
    import tempfile

    with tempfile.TemporaryDirectory() as path:
        folder = worker_folder(Path(path))
        for pid, value in zip(dead_pids(), values, strict=False):
            write(folder, "counter", pid, "c_total", value, who="dead")
            write(folder, "histogram", pid, "h_sum", value)
        before = samples_unfolded(folder)
        code = f"""
import os, pathlib, sys
from noai_guard.observability import multiprocess
multiprocess.os.getpid = lambda: {os.getpid()}
left = {step}
def ends(function):
    def wrapped(*args, **options):
        global left
        if left == 0:
            os._exit(7)
        left -= 1
        return function(*args, **options)
    return wrapped
for name in ("rename", "replace", "unlink", "write_text"):
    setattr(pathlib.Path, name, ends(getattr(pathlib.Path, name)))
multiprocess.fold_dead(pathlib.Path(sys.argv[1]))
"""
        done = subprocess.run([sys.executable, "-c", code, str(folder)], timeout=60)
        assert done.returncode in (0, 7)
        assert samples(folder) == before
        fold_dead(folder)
        fold_dead(folder)
        assert samples(folder) == before
        assert names(folder) == {f"counter_{os.getpid()}.db", "counter_folded.db", "histogram_folded.db"}


def test_many_folders_and_readers_at_once_never_see_a_total_too_small_or_too_large(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """While workers end, one after the other, each having counted one."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    ended = 0
    wrong: list[object] = []
    over = threading.Event()

    def watch() -> None:
        try:
            while not over.is_set():
                least = ended
                fold_dead(folder)
                found = samples(folder).get(("c_total", (("who", "dead"),)), 0)
                if not least <= found <= ended + 1:
                    wrong.append((least, found, ended))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for pid, _ in zip(dead_pids(), range(150), strict=False):
        write(elsewhere, "counter", pid, "c_total", 1, who="dead")
        (elsewhere / f"counter_{pid}.db").rename(folder / f"counter_{pid}.db")
        ended += 1
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert samples(folder)["c_total", (("who", "dead"),)] == 150


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 100, b"\x10\x00\x00\x00" + b"\xff" * 60])
def test_a_broken_file_hides_no_other(folder: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (folder / f"counter_{os.getppid()}.db").write_bytes(content)
    (folder / "counter_5000001.db").write_bytes(content)
    write(folder, "counter", 5_000_002, "c_total", 2, who="dead")
    expected = {("c_total", (("who", "living"),)): 1, ("c_total", (("who", "dead"),)): 2}
    assert samples(folder) == expected
    fold_dead(folder)
    assert samples(folder) == expected
    assert "counter_5000001.db" not in names(folder)


def test_a_scrape_folds_when_many_have_died(folder: Path) -> None:
    for pid, _ in zip(dead_pids(), range(MOST_DEAD), strict=False):
        write(folder, "counter", pid, "c_total", 1, who="dead")
    samples(folder)
    assert len(names(folder)) == MOST_DEAD + 1
    write(folder, "counter", 5_900_000, "c_total", 1, who="dead")
    assert samples(folder)["c_total", (("who", "dead"),)] == MOST_DEAD + 1
    assert names(folder) == {f"counter_{os.getpid()}.db", "counter_folded.db"}


def test_a_folder_that_cannot_be_folded_is_still_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    for pid, _ in zip(dead_pids(), range(MOST_DEAD + 1), strict=False):
        write(folder, "counter", pid, "c_total", 1, who="dead")
    monkeypatch.setattr(multiprocess, "_write_together", full)
    assert samples(folder)["c_total", (("who", "dead"),)] == MOST_DEAD + 1


def test_metrics_are_served_as_text() -> None:
    registry = CollectorRegistry()
    guard = guarded(answering(), registry=registry)
    ask(guard, http(user_agent=SCRAPER))
    exchange = ask(metrics_app(registry), http("/metrics"))
    assert exchange.status == 200
    assert 'noai_requests_total{action="deny",agent="GPTBot"' in exchange.text


def test_bytes_that_are_no_text_in_a_scrape_do_no_harm() -> None:
    scope = http("/metrics", BROWSER, (b"accept", b"\xff"), (b"x-\xfe", b"\xff"), query_string=b"name[]=\xff")
    assert ask(metrics_app(CollectorRegistry()), scope).status == 200


def test_a_websocket_to_the_metrics_is_closed() -> None:
    assert ask(metrics_app(CollectorRegistry()), websocket()).messages == [{"type": "websocket.close", "code": 1008}]


def test_a_folder_that_is_not_there_is_said_at_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="is not a folder"):
        metrics_app(CollectorRegistry())


@pytest.mark.parametrize("journal", [b"", b"{", b"\xff"])
def test_a_journal_that_cannot_be_read_does_not_stop_the_scrape(
    folder: Path, journal: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "noai_folding.json").write_bytes(journal)
    assert samples(folder) == {("c_total", (("who", "living"),)): 1}
    assert "cannot be read" in caplog.text
    assert not (folder / "noai_folding.json").exists()


def test_what_a_killed_folder_left_half_written_is_not_counted(folder: Path) -> None:
    write(folder, "counter", 5_000_000, "c_total", 5, who="dead")
    write(folder, "counter", "folded", "c_total", 100, who="dead")
    (folder / "counter_folded.db").rename(folder / "counter_folded.db.new")
    assert samples(folder)["c_total", (("who", "dead"),)] == 5
    fold_dead(folder)
    assert samples(folder)["c_total", (("who", "dead"),)] == 5
