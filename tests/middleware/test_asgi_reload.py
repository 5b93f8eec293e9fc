"""Reload: on SIGHUP or file change, all at once; a broken file keeps the last good policy."""

import asyncio
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware
from noai_guard.config import check_policy, rules_folder
from noai_guard.core.model import Usage
from tests.files import replace_text
from tests.middleware.asgi_kit import OURS, SCRAPER, answering, ask, asked, http, metric

pytestmark = pytest.mark.usefixtures("hangup_as_before", "impatient")

WATCHED = "features: {reload: watch}\n"
SIGNALLED = "features: {reload: signal}\n"
LETS_IN = "usages: {train-ai: yes}\n"


@pytest.fixture
def file(tmp_path: Path):
    return tmp_path / "noai.yaml"


def guard_of(file: Path, text: str) -> NoAIMiddleware:
    file.write_text(text)
    return NoAIMiddleware(answering(), file, registry=CollectorRegistry())


async def status(guard: NoAIMiddleware) -> int:
    return (await asked(guard, http(user_agent=SCRAPER))).status


async def until(guard: NoAIMiddleware, wanted: int) -> None:
    async with asyncio.timeout(30):
        while await status(guard) != wanted:
            await asyncio.sleep(0.01)


async def until_counted(guard: NoAIMiddleware, result: str, at_least: int) -> None:
    async with asyncio.timeout(30):
        while metric(guard, "reloads", result=result) < at_least:
            await status(guard)
            await asyncio.sleep(0.01)


def test_a_changed_file_is_in_force_without_a_restart(file, caplog):
    guard = guard_of(file, WATCHED)

    async def story():
        assert await status(guard) == 403
        replace_text(file, WATCHED + LETS_IN)
        await until(guard, 200)
        replace_text(file, WATCHED + "mode: enforce\n")
        await until(guard, 403)
        await until_counted(guard, "ok", 2)

    caplog.set_level("INFO", "noai_guard")
    asyncio.run(story())
    assert metric(guard, "reloads", result="failed") == 0
    assert "last good one" not in caplog.text


def test_a_file_that_is_replaced_by_another_is_noticed(file, tmp_path):
    guard = guard_of(file, WATCHED)

    async def story():
        assert await status(guard) == 403
        new = tmp_path / "new.yaml"
        new.write_text(WATCHED + LETS_IN)
        new.replace(file)
        await until(guard, 200)

    asyncio.run(story())


@pytest.mark.parametrize("text", ["usages: {train-ai: perhaps}\n", "a: [", "\x00", "", "x" * 2_000_000])
def test_a_broken_file_keeps_the_last_good_policy_and_is_told(file, text, caplog):
    guard = guard_of(file, WATCHED + LETS_IN)

    async def story():
        assert await status(guard) == 200
        replace_text(file, text)
        await until_counted(guard, "failed", 1)
        assert await status(guard) == 200
        assert metric(guard, "reload_failed") == 1
        replace_text(file, WATCHED)
        await until(guard, 403)
        async with asyncio.timeout(30):
            while metric(guard, "reload_failed"):
                await asyncio.sleep(0.01)

    asyncio.run(story())
    assert "last good one" in caplog.text


def test_a_file_that_is_gone_keeps_the_last_good_policy(file):
    guard = guard_of(file, WATCHED + LETS_IN)

    async def story():
        file.unlink()
        for _ in range(5):
            assert await status(guard) == 200
            await asyncio.sleep(0.02)
        replace_text(file, WATCHED)
        await until(guard, 403)

    asyncio.run(story())


def test_a_file_that_is_gone_is_said_once(file, caplog):
    guard = guard_of(file, WATCHED + LETS_IN)

    async def story():
        assert await status(guard) == 200
        file.unlink()
        await until_counted(guard, "failed", 1)
        for _ in range(5):
            assert await status(guard) == 200
            await asyncio.sleep(0.02)
        assert metric(guard, "reload_failed") == 1
        replace_text(file, WATCHED + LETS_IN)
        await until_counted(guard, "ok", 1)
        assert metric(guard, "reload_failed") == 0

    asyncio.run(story())
    assert metric(guard, "reloads", result="failed") == 1
    assert len([record for record in caplog.records if "P001 cannot be read: No such file" in record.getMessage()]) == 1


def test_another_target_of_a_link_is_noticed_though_all_files_have_the_same_time(tmp_path):
    """As on NixOS, OSTree and in reproducible images."""
    for name, mode in (("one", "enforce"), ("two", "monitor")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "noai.yaml").write_text(f"mode: {mode}\n{WATCHED}")
        os.utime(tmp_path / name / "noai.yaml", (1, 1))
    (tmp_path / "current").symlink_to("one")
    (tmp_path / "noai.yaml").symlink_to("current/noai.yaml")
    guard = NoAIMiddleware(answering(), tmp_path / "noai.yaml", registry=CollectorRegistry())

    async def story():
        assert await status(guard) == 403
        (tmp_path / "new").symlink_to("two")
        (tmp_path / "new").replace(tmp_path / "current")
        await until(guard, 200)

    asyncio.run(story())


def test_a_new_version_of_a_kubernetes_config_map_is_noticed(tmp_path):
    """Kubernetes swaps the link `..data` between two folders and removes the old one."""
    for version, text in (("..1", WATCHED), ("..2", WATCHED + LETS_IN)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "noai.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "noai.yaml").symlink_to("..data/noai.yaml")
    guard = NoAIMiddleware(answering(), tmp_path / "noai.yaml", registry=CollectorRegistry())

    async def story():
        assert await status(guard) == 403
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").replace(tmp_path / "..data")
        shutil.rmtree(tmp_path / "..1")
        await until(guard, 200)

    asyncio.run(story())
    assert metric(guard, "reloads", result="failed") == 0


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_file_of_the_same_size_and_time_is_noticed(file, tmp_path, how):
    before, after = WATCHED + "usages: {train-ai: no} ", WATCHED + LETS_IN.rstrip()
    assert len(before) == len(after)
    guard = guard_of(file, before)
    os.utime(file, (1, 1))

    async def story():
        assert await status(guard) == 403
        await until_counted(guard, "ok", 1)  # of the time
        new = file if how == "in place" else tmp_path / "new.yaml"
        new.write_text(after)
        os.utime(new, (1, 1))
        new.replace(file)
        await until(guard, 200)

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "socket", "link to itself"])
def test_what_is_no_file_in_the_place_of_the_policy_holds_nothing_up(file, kind, make_fifo, caplog):
    guard = guard_of(file, WATCHED + LETS_IN)

    async def story():
        assert await status(guard) == 200
        file.unlink()
        with socket.socket(socket.AF_UNIX) as listener:
            if kind == "socket":
                listener.bind(os.path.relpath(file))  # a short path: of 100 bytes at most
            else:
                make = {"fifo": make_fifo, "folder": Path.mkdir, "device": lambda at: at.symlink_to("/dev/zero")}
                make.get(kind, lambda at: at.symlink_to(at.name))(file)
            await until_counted(guard, "failed", 1)
            assert await status(guard) == 200
            file.rmdir() if kind == "folder" else file.unlink()
            replace_text(file, WATCHED)
            await until(guard, 403)

    asyncio.run(story())
    assert "P001 cannot be read" in caplog.text


def test_a_reload_of_a_catalogue_with_a_fifo_in_it_holds_nothing_up(file, tmp_path, monkeypatch, make_fifo, caplog):
    rules = tmp_path / "rules"
    shutil.copytree(rules_folder() / "policies", rules / "policies")
    (rules / "agents").mkdir()
    shutil.copy(rules_folder() / "agents" / "openai.yaml", rules / "agents")
    monkeypatch.setattr("noai_guard.config.rules_folder", lambda: rules)
    guard = guard_of(file, "mode: enforce\n")
    make_fifo(rules / "agents" / "apple.yaml")
    assert not guard.runtime.reload()
    assert "apple.yaml: P001 cannot be read: not a regular file" in caplog.text
    assert asyncio.run(status(guard)) == 403


def test_a_changed_file_is_left_alone_where_reload_is_by_signal(file):
    guard = guard_of(file, SIGNALLED)

    async def story():
        assert await status(guard) == 403
        file.write_text(SIGNALLED + LETS_IN)
        for _ in range(5):
            assert await status(guard) == 403
            await asyncio.sleep(0.02)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(guard, 200)

    asyncio.run(story())


def test_reload_is_off_unless_asked_for(file):
    guard = guard_of(file, "mode: enforce\n")

    async def story():
        assert await status(guard) == 403
        file.write_text(LETS_IN)
        await asyncio.sleep(0.05)
        assert await status(guard) == 403

    before = signal.getsignal(signal.SIGHUP)
    asyncio.run(story())
    assert signal.getsignal(signal.SIGHUP) is before


def test_a_hangup_right_after_the_start_does_not_end_the_process(file):
    guard = guard_of(file, SIGNALLED)
    guard.app = lambda scope, receive, send: asyncio.sleep(0)

    async def story():
        await asked(guard, {"type": "lifespan"})
        file.write_text(SIGNALLED + LETS_IN)
        os.kill(os.getpid(), signal.SIGHUP)
        guard.app = answering()
        await until(guard, 200)

    asyncio.run(story())


def test_a_hangup_handler_that_the_app_had_is_still_called(file):
    called = []
    signal.signal(signal.SIGHUP, lambda number, frame: called.append(number))
    guard = guard_of(file, SIGNALLED)

    async def story():
        await status(guard)
        file.write_text(SIGNALLED + LETS_IN)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(guard, 200)

    asyncio.run(story())
    assert called == [signal.SIGHUP]


def test_two_guards_in_one_process_both_reload(file, tmp_path):
    first, second = guard_of(file, SIGNALLED), guard_of(tmp_path / "other.yaml", SIGNALLED)

    async def story():
        assert (await status(first), await status(second)) == (403, 403)
        file.write_text(SIGNALLED + LETS_IN)
        (tmp_path / "other.yaml").write_text(SIGNALLED + LETS_IN)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(first, 200)
        await until(second, 200)

    asyncio.run(story())


def test_a_hangup_after_the_loop_has_ended_does_no_harm(file):
    guard = guard_of(file, SIGNALLED)
    asyncio.run(status(guard))
    os.kill(os.getpid(), signal.SIGHUP)
    assert asyncio.run(status(guard)) == 403


def test_a_thousand_hangups_under_load_drop_nothing_and_mix_nothing(file):
    """Each answer comes from one policy: the refusing one is a 403, the other one declares nothing of training."""
    lets_in = SIGNALLED + "usages: {train-ai: yes, data-broker: yes, scraper: yes}\npaths: {/a/**: {}, /b/**: {}}\n"
    guard = guard_of(file, SIGNALLED)
    answers = []

    async def load(stop):
        while not stop.is_set():
            answers.append(await asked(guard, http("/b/c", SCRAPER)))
            await asyncio.sleep(0)

    async def story():
        await status(guard)
        stop = asyncio.Event()
        loads = [asyncio.create_task(load(stop)) for _ in range(4)]
        number = 0
        # Hangups during a reload become one: how many reloads a thousand of them are depends on the machine.
        while number < 1000 or metric(guard, "reloads", result="ok") < 3:
            if number % 25 == 0:
                staged = file.with_suffix(".new")
                staged.write_text(lets_in if number % 50 == 0 else SIGNALLED)
                staged.replace(file)
            os.kill(os.getpid(), signal.SIGHUP)
            number += 1
            await asyncio.sleep(0)
        stop.set()
        await asyncio.gather(*loads)

    asyncio.run(asyncio.wait_for(story(), 60))
    assert {answer.error for answer in answers} == {None}
    assert metric(guard, "reloads", result="failed") == 0
    assert metric(guard, "guard_failures") == 0
    for answer in answers:
        declared = (b"x-robots-tag", b"noai, noimageai, noarchive, noml") in answer.headers
        assert declared == (answer.status == 403)


def test_reloading_by_hand_says_whether_it_was_done(file):
    guard = guard_of(file, LETS_IN)
    file.write_text("mode: enforce")
    assert guard.runtime.reload()
    file.write_text("mode: nonsense")
    assert not guard.runtime.reload()
    assert asyncio.run(status(guard)) == 403
    assert not NoAIMiddleware(answering(), registry=CollectorRegistry()).runtime.reload()


def test_requests_are_served_while_a_policy_is_read(file, monkeypatch):
    guard = guard_of(file, SIGNALLED)
    reading, answered = threading.Event(), threading.Event()

    def read_after_an_answer(path):
        reading.set()
        assert answered.wait(30)
        return check_policy(path)

    monkeypatch.setattr("noai_guard.middleware.policy_loading.check_policy", read_after_an_answer)

    async def story():
        await status(guard)
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(30):
            while not reading.is_set():
                await asyncio.sleep(0.01)
        assert await status(guard) == 403
        answered.set()
        await until_counted(guard, "ok", 1)

    asyncio.run(story())


def test_our_headers_follow_the_policy_in_force(file):
    guard = guard_of(file, WATCHED)

    async def story():
        before = (await asked(guard, http())).headers
        replace_text(file, WATCHED + "declarations: {x_robots_tag: no}\n")
        async with asyncio.timeout(30):
            while (await asked(guard, http())).headers == before:
                await asyncio.sleep(0.01)
        return before, (await asked(guard, http())).headers

    before, after = asyncio.run(story())
    assert before[-len(OURS) :] == OURS
    assert not [value for name, value in after if name == b"x-robots-tag"]


def test_a_file_that_says_nothing_yet_keeps_the_policy_in_force(tmp_path):
    """Some editors empty a file before they write it again."""
    file = tmp_path / "noai.yaml"
    file.write_text("mode: monitor\nfeatures: {reload: watch}\n")
    guard = NoAIMiddleware(answering(), policy=file, registry=CollectorRegistry())
    file.write_text("")
    assert not guard.runtime.reload()
    assert guard.runtime.compiled.policy.mode == "monitor"
    file.write_text("mode: enforce\n")
    assert guard.runtime.reload()
    assert guard.runtime.compiled.policy.mode == "enforce"


def test_an_edit_is_seen_while_nobody_visits(file):
    file.write_text(WATCHED)
    guard = NoAIMiddleware(answering(), policy=file, registry=CollectorRegistry())
    assert ask(guard, http("/", SCRAPER)).status == 403
    replace_text(file, WATCHED + LETS_IN)
    until = time.monotonic() + 30
    while guard.runtime.compiled.policy.usages[Usage.TRAIN_AI] == "deny" and time.monotonic() < until:
        time.sleep(0.01)
    assert ask(guard, http("/", SCRAPER)).status == 200


def test_a_reload_reads_a_changed_catalogue_too(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(rules_folder() / "policies", rules / "policies")
    (rules / "agents").mkdir()
    shutil.copy(rules_folder() / "agents" / "openai.yaml", rules / "agents")
    monkeypatch.setattr("noai_guard.config.rules_folder", lambda: rules)
    guard = guard_of(file, "mode: enforce\n")
    agents = [len(guard.runtime.compiled.catalog.agents)]
    shutil.copy(rules_folder() / "agents" / "apple.yaml", rules / "agents")
    assert guard.runtime.reload()
    agents.append(len(guard.runtime.compiled.catalog.agents))
    assert agents[1] > agents[0] > 0


HOSTING = "networks: {hosting: {file: hosting.txt}}\nrules: [{id: hosting, networks: [hosting], action: deny}]\n"


async def status_of_browser(guard: NoAIMiddleware) -> int:
    return (await asked(guard, http(user_agent=b"Mozilla/5.0 (X11) Firefox/143.0"))).status


async def until_browser(guard: NoAIMiddleware, wanted: int) -> None:
    async with asyncio.timeout(30):
        while await status_of_browser(guard) != wanted:
            await asyncio.sleep(0.01)


def test_a_changed_list_of_networks_is_in_force_without_a_restart_and_a_broken_one_keeps_the_last(file, caplog):
    networks = file.parent / "hosting.txt"
    networks.write_text("192.0.2.0/24\n")
    guard = guard_of(file, WATCHED + HOSTING)

    async def story():
        assert await status_of_browser(guard) == 200
        replace_text(networks, "0.0.0.0/1\n128.0.0.0/1\n")
        await until_browser(guard, 403)
        for count, broken in enumerate(("nonsense\n", "10.0.0.0/8\n" * 200_001), 1):
            replace_text(networks, broken)
            await until_counted(guard, "failed", count)
            assert await status_of_browser(guard) == 403
        networks.unlink()
        await until_counted(guard, "failed", 3)
        assert await status_of_browser(guard) == 403
        replace_text(networks, "192.0.2.0/24\n")
        await until_browser(guard, 200)

    asyncio.run(story())
    assert f"{networks}:1: P013" in caplog.text


def test_a_list_that_only_a_refused_policy_names_is_watched_until_it_is_mended(file):
    guard = guard_of(file, WATCHED)

    async def story():
        assert await status_of_browser(guard) == 200
        replace_text(file, WATCHED + HOSTING)
        await until_counted(guard, "failed", 1)
        replace_text(file.parent / "hosting.txt", "0.0.0.0/1\n128.0.0.0/1\n")
        await until_browser(guard, 403)

    asyncio.run(story())


@pytest.mark.parametrize("before", [None, "192.0.2.0/24\n"], ids=["is missing", "holds other networks"])
def test_a_list_that_changes_while_the_first_policy_that_names_it_is_read_is_in_force(file, before, monkeypatch):
    guard = guard_of(file, WATCHED)
    networks = file.parent / "hosting.txt"
    if before is not None:
        networks.write_text(before)
    replace_text(file, WATCHED + HOSTING)

    def changed_behind(path):
        found = check_policy(path)
        replace_text(networks, "0.0.0.0/1\n128.0.0.0/1\n")
        return found

    monkeypatch.setattr("noai_guard.middleware.policy_loading.check_policy", changed_behind)
    assert guard.runtime.reload()
    assert asyncio.run(status_of_browser(guard)) == 403


def test_an_agent_that_is_put_into_the_folder_is_refused_without_a_restart(file):
    folder = file.parent / "agents"
    folder.mkdir()
    guard = guard_of(file, WATCHED + "agents_dir: agents\n")

    async def status_of(user_agent: bytes) -> int:
        return (await asked(guard, http(user_agent=user_agent))).status

    async def until_status(user_agent: bytes, wanted: int) -> None:
        async with asyncio.timeout(30):
            while await status_of(user_agent) != wanted:
                await asyncio.sleep(0.01)

    async def story():
        assert await status_of(b"TrackGrab/1.0") == 200
        replace_text(folder / "a.yaml", "agents: [{name: T, usages: [scraper], expected_user_agent: [TrackGrab]}]\n")
        await until_status(b"TrackGrab/1.0", 403)
        replace_text(folder / "a.yaml", "agents: [{name: T, usages: [scraper], expected_user_agent: [OtherGrab]}]\n")
        await until_status(b"TrackGrab/1.0", 200)
        assert await status_of(b"OtherGrab/1.0") == 403

    asyncio.run(story())
