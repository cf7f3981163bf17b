"""Apache Kafka's published jars: which ones (jgo.toml), their checksums (jgo.lock.toml), and their download.

jgo's resolver, left alone, mixes versions (an older kafka-clients, an older jackson), so every artifact is
pinned by name and each is fetched by itself, without looking at its dependencies.
`python -m deploy.local.kafka_jars` writes the lock anew from jgo.toml.
"""

import fcntl
import hashlib
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from deploy.local.cache import cache_dir
from deploy.trouble import Trouble
from deploy.words import _, ngettext

SPEC = Path(__file__).with_name("jgo.toml")
LOCK = Path(__file__).with_name("jgo.lock.toml")
DOWNLOADS_AT_ONCE = 6
DOWNLOAD_TIMEOUT_S = 60
ATTEMPTS = 3


@dataclass(frozen=True)
class Jar:
    """One artifact, by its Maven coordinates."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def locked_jars() -> list[Jar]:
    lock = tomllib.loads(LOCK.read_text(encoding="utf-8"))
    return [
        Jar(entry["groupId"], entry["artifactId"], entry["version"], entry["sha256"]) for entry in lock["dependencies"]
    ]


def kafka_classpath() -> list[Path]:
    """Every jar of the lock, on disk and with the right checksum; downloads what is missing.

    Two processes may call this at once: the second waits and finds the work done.
    """
    jars = locked_jars()
    folder = cache_dir() / "kafka"
    if any(not _is_sound(folder, jar) for jar in jars):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(folder / ".lock"):
                _download(folder, [jar for jar in jars if not _is_sound(folder, jar)])
        except OSError as error:
            raise Trouble(
                _(
                    "cannot keep Kafka's files in {folder} ({reason}); make room there and make it yours, "
                    "or choose another folder with KOPILKA_CACHE"
                ).format(folder=folder, reason=error.strerror or error)
            ) from error
    return [folder / jar.file_name for jar in jars]


def _is_sound(folder: Path, jar: Jar) -> bool:
    path = folder / jar.file_name
    return path.is_file() and _sha256(path) == jar.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _alone(lock_path: Path) -> Iterator[None]:
    with lock_path.open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        yield


def _download(folder: Path, missing: list[Jar]) -> None:
    if not missing:
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        text = ngettext(
            "Downloading Apache Kafka: {count} file", "Downloading Apache Kafka: {count} files", len(missing)
        )
        console.print(text.format(count=len(missing)), highlight=False)
    progress = Progress(
        TextColumn("Apache Kafka"),
        BarColumn(),
        TextColumn(f"{{task.fields[done]}}/{len(missing)}"),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress, tempfile.TemporaryDirectory(dir=folder, prefix=".incoming-") as incoming:
        task = progress.add_task("", total=0, done=0)

        @contextmanager
        def count_bytes(_name: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
            progress.update(task, total=(progress.tasks[0].total or 0) + size_bytes)
            yield lambda count: progress.advance(task, count)

        def fetch(jar: Jar) -> None:
            _fetch(jar, Path(incoming), folder, count_bytes)
            progress.update(task, done=progress.tasks[0].fields["done"] + 1)

        pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE)
        try:
            list(pool.map(fetch, missing))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits for those under way only


def _fetch(
    jar: Jar,
    incoming: Path,
    folder: Path,
    count_bytes: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        repository = incoming / f"{jar.artifact}-{attempt}"
        try:
            path = _fetch_with_jgo(jar, repository, count_bytes)
        except OSError as error:
            if error.errno is not None or attempt == ATTEMPTS:
                raise _unreachable(jar, error) from error
        except RuntimeError as error:
            raise _unreachable(jar, error) from error
        else:
            if _sha256(path) == jar.sha256:
                path.replace(folder / jar.file_name)
                return
            shutil.rmtree(repository)
    raise Trouble(
        _(
            "{file}: its checksum is not the one in {lock}; try again, and look at the proxy or mirror on the way"
        ).format(file=jar.file_name, lock=LOCK.name)
    )


def _unreachable(jar: Jar, error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno is not None and type(error) is OSError:
        return error  # the disk, not the network: told by the caller
    reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    return Trouble(
        _(
            "cannot download {file} ({reason}); connect to the network once (later runs need none), "
            "or name a mirror under [repositories] in ~/.config/jgo.conf"
        ).format(file=jar.file_name, reason=reason)
    )


def _fetch_with_jgo(
    jar: Jar,
    repository: Path,
    count_bytes: Callable[[str, int], AbstractContextManager[Callable[[int], None]]] | None,
) -> Path:
    # Imported here: it is slow, and needed only by the first run.
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    context = MavenContext(
        resolver=PythonResolver(progress_callback=count_bytes),
        repo_cache=repository,
        remote_repos=GlobalSettings.load().repositories or None,
        timeout=DOWNLOAD_TIMEOUT_S,
    )
    return Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())


def write_lock() -> None:
    """Fetch every artifact of jgo.toml and write its checksum to the lock. Names no repository host."""
    from jgo.env import EnvironmentSpec  # noqa: PLC0415
    from jgo.env._lockfile import LockedDependency, LockFile, compute_spec_hash  # noqa: PLC0415

    spec = EnvironmentSpec.load(SPEC)
    with tempfile.TemporaryDirectory() as repository:
        locked = []
        for coordinate in spec.coordinates:
            group, artifact, version = coordinate.split(":")
            path = _fetch_with_jgo(Jar(group, artifact, version, sha256=""), Path(repository), None)
            locked.append(LockedDependency(group, artifact, version, sha256=_sha256(path)))
            print(coordinate, file=sys.stderr)
    lock = LockFile(locked, environment_name=spec.name, spec_hash=compute_spec_hash(SPEC))
    lock.save(LOCK)


if __name__ == "__main__":
    write_lock()
