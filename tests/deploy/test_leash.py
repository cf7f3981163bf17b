import os
import signal
import subprocess
import sys

import psutil

from deploy.local.waiting import wait_until

PARENT = """
import subprocess, sys, threading
from deploy.local import leash

def start():
    child = subprocess.Popen({command!r}, start_new_session=True, stdout=subprocess.PIPE)
    child.stdout.readline()
    leash.hold(child.pid)
    print(child.pid, flush=True)

# In a thread that ends at once: the child must live on.
thread = threading.Thread(target=start)
thread.start()
thread.join()
sys.stdin.read()
"""

OBEDIENT = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)",
]
WITH_A_CHILD_OF_ITS_OWN = ["/bin/sh", "-c", "sleep 600 & echo $!; wait"]


def start_parent(command: list[str]) -> tuple["subprocess.Popen[str]", psutil.Process]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(command=command)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    return parent, psutil.Process(int(parent.stdout.readline()))


def kill_and_close(parent: "subprocess.Popen[str]") -> None:
    parent.kill()
    parent.communicate()


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_child_dies_when_its_parent_is_killed() -> None:
    parent, child = start_parent(OBEDIENT)
    assert not is_gone(child)
    kill_and_close(parent)
    wait_until(lambda: is_gone(child), 5)


def test_a_child_that_ignores_sigterm_is_killed_after_a_grace_time() -> None:
    parent, child = start_parent(STUBBORN)
    kill_and_close(parent)
    wait_until(lambda: is_gone(child), 10)


def test_the_children_of_a_child_die_too() -> None:
    parent, child = start_parent(WITH_A_CHILD_OF_ITS_OWN)
    (grandchild,) = child.children()
    kill_and_close(parent)
    wait_until(lambda: is_gone(child) and is_gone(grandchild), 5)


def test_the_watcher_itself_ends() -> None:
    parent, child = start_parent(OBEDIENT)
    watchers = [p for p in psutil.Process(parent.pid).children() if p.pid != child.pid]
    assert len(watchers) == 1
    kill_and_close(parent)
    wait_until(lambda: is_gone(watchers[0]), 10)


def test_ctrl_c_does_not_end_the_watcher() -> None:
    parent, child = start_parent(OBEDIENT)
    (watcher,) = [p for p in psutil.Process(parent.pid).children() if p.pid != child.pid]
    assert os.getpgid(watcher.pid) != os.getpgid(parent.pid)
    watcher.send_signal(signal.SIGINT)
    kill_and_close(parent)
    wait_until(lambda: is_gone(child), 5)
