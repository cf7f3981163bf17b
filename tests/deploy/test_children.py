import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from deploy import children
from deploy.children import Child, Program, keep_log_small

Born = Callable[[str], Child]


@pytest.fixture
async def born(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Born]:
    """A child that runs this Python source; not started yet."""
    monkeypatch.setattr(children, "ROOT", tmp_path)
    made: list[Child] = []

    def make(source: str) -> Child:
        (tmp_path / "program.py").write_text(source)
        made.append(Child(Program("till", ("program",), {"PACE": "5"}), sys.executable, tmp_path / "logs"))
        return made[-1]

    yield make
    for child in made:
        await child.stop(within_s=0)


async def until(condition: Callable[[], object], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def said(child: Child) -> list[str]:
    return child.log_path.read_text().split() if child.log_path.exists() else []


ENDURING = "import os, time; print('up', os.environ['PACE'], flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
OBEDIENT = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
    "print('up', flush=True); time.sleep(600)"
)
PARENT = "import subprocess; subprocess.Popen(['sleep', '600']); print('up', flush=True); import time; time.sleep(600)"


async def test_a_child_gets_its_settings_and_its_words_go_to_its_log(born: Born) -> None:
    child = born(ENDURING)
    running = asyncio.create_task(child.keep_running())
    await until(lambda: said(child) == ["up", "5"])
    await child.stop(within_s=5)
    await running


async def test_a_child_that_dies_is_started_again_ever_more_patiently(
    born: Born, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "FIRST_PAUSE_S", 0.2)
    child = born("print('up', flush=True); raise SystemExit(3)")
    pauses: list[float] = []
    child._died = lambda _, pause_s: pauses.append(pause_s)
    running = asyncio.create_task(child.keep_running())
    began = time.monotonic()
    await until(lambda: len(said(child)) == 4)
    assert time.monotonic() - began >= 0.2 + 0.4 + 0.8
    assert pauses[:3] == [0.2, 0.4, 0.8]
    assert child.last_exit == 3
    assert child.deaths >= 3
    await child.stop(within_s=5)
    await running


async def test_a_child_that_ran_long_enough_starts_again_soon(born: Born, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(children, "LONGEST_PAUSE_S", 100)
    monkeypatch.setattr(children, "SETTLED_AFTER_S", 0.0)
    child = born("print('up', flush=True)")
    running = asyncio.create_task(child.keep_running())
    await until(lambda: len(said(child)) > 8)
    await child.stop(within_s=5)
    await running


async def test_a_stopped_child_is_not_started_again(born: Born) -> None:
    child = born(OBEDIENT)
    running = asyncio.create_task(child.keep_running())
    await until(lambda: said(child))
    await child.stop(within_s=10)
    async with asyncio.timeout(5):
        await running
    assert child.last_exit == 0
    assert child.pid is None


async def test_a_stop_between_two_lives_is_heeded_at_once(born: Born, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "FIRST_PAUSE_S", 600)
    child = born("")
    running = asyncio.create_task(child.keep_running())
    await until(lambda: child.starts_again_at is not None)
    await child.stop(within_s=5)
    async with asyncio.timeout(5):
        await running


async def test_a_child_that_ignores_sigterm_is_killed_in_time(born: Born) -> None:
    child = born(STUBBORN)
    running = asyncio.create_task(child.keep_running())
    await until(lambda: said(child))
    await child.stop(within_s=0.2)
    await running
    assert child.last_exit == -signal.SIGKILL


async def test_the_children_of_a_killed_child_die_with_it(born: Born) -> None:
    child = born(PARENT.replace("import time;", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"))
    running = asyncio.create_task(child.keep_running())
    await until(lambda: said(child))
    assert child.pid is not None
    (grandchild,) = psutil.Process(child.pid).children()
    await child.stop(within_s=0.5)
    await running
    with contextlib.suppress(psutil.NoSuchProcess):
        await until(lambda: grandchild.status() == psutil.STATUS_ZOMBIE)


async def test_the_end_of_the_log_tells_why(born: Born) -> None:
    child = born("raise ValueError('no such till')")
    assert await child.run_once() == 1
    assert "no such till" in child.end_of_log()


def test_a_log_that_has_grown_is_put_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "till.log"
    with path.open("ab", buffering=0) as log:
        log.write(b"x" * 100)
        keep_log_small(path, limit_bytes=99)
        log.write(b"later")
    assert path.read_bytes() == b"later"
    assert path.with_name("till.log.1").read_bytes() == b"x" * 100


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "till.log"
    path.write_bytes(b"x" * 100)
    keep_log_small(path, limit_bytes=100)
    keep_log_small(tmp_path / "none.log", limit_bytes=100)
    assert [each.name for each in tmp_path.iterdir()] == ["till.log"]
