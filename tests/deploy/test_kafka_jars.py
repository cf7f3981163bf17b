import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.local.kafka_jars import LOCK, SPEC, kafka_classpath, locked_jars
from deploy.local.ports import free_port
from deploy.trouble import Trouble
from tests.deploy.local_jars import lay_out_repository, path_in_repository, served

FETCH = [sys.executable, "-c", "from deploy.local.kafka_jars import kafka_classpath; kafka_classpath()"]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("KOPILKA_CACHE", str(cache))
    return cache


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Takes the jars of the real cache, so ask for it before `empty_cache`."""
    root = tmp_path / "repository"
    lay_out_repository(root)
    return root


def use_repository(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "jgo.conf"
    settings.write_text(f"[repositories]\nlocal = {url}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))


def test_the_lock_names_every_artifact_of_the_specification_with_a_checksum() -> None:
    coordinates = tomllib.loads(SPEC.read_text())["dependencies"]["coordinates"]
    assert [f"{jar.group}:{jar.artifact}:{jar.version}" for jar in locked_jars()] == coordinates
    assert all(len(jar.sha256) == 64 for jar in locked_jars())


def test_neither_the_specification_nor_the_lock_names_a_host() -> None:
    assert "://" not in SPEC.read_text() + LOCK.read_text()


def test_the_jars_are_downloaded_once_and_then_need_no_network(
    repository: Path, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(repository) as url:
        use_repository(url, tmp_path, monkeypatch)
        downloaded = kafka_classpath()
    assert len(downloaded) == len(locked_jars())
    assert all(path.is_file() and path.is_relative_to(empty_cache) for path in downloaded)
    assert kafka_classpath() == downloaded


def test_two_processes_that_download_at_once_both_get_all_of_it(
    repository: Path, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(repository) as url:
        use_repository(url, tmp_path, monkeypatch)
        both = [subprocess.Popen(FETCH, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        errors = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert sum("Downloading" in text for text in errors) == 1


def test_a_spoilt_jar_in_the_cache_is_fetched_again(
    repository: Path, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(repository) as url:
        use_repository(url, tmp_path, monkeypatch)
        spoilt = kafka_classpath()[0]
        sound = spoilt.read_bytes()
        spoilt.write_bytes(sound[:100])
        kafka_classpath()
    assert spoilt.read_bytes() == sound


def test_a_jar_with_another_checksum_than_the_lock_is_refused(
    repository: Path, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = locked_jars()[0]
    forged = repository / path_in_repository(jar)
    forged.unlink()
    forged.write_bytes(b"not the jar")
    with served(repository) as url:
        use_repository(url, tmp_path, monkeypatch)
        with pytest.raises(Trouble, match=f"{jar.file_name}.*checksum"):
            kafka_classpath()
    assert not (empty_cache / "kafka" / jar.file_name).exists()


def test_no_network_is_told_in_one_line(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_repository(f"http://127.0.0.1:{free_port()}", tmp_path, monkeypatch)
    with pytest.raises(Trouble, match="connect to the network") as trouble:
        kafka_classpath()
    assert "\n" not in str(trouble.value)


def test_a_cache_that_cannot_be_written_is_told_with_the_setting_that_moves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KOPILKA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(Trouble, match="KOPILKA_CACHE"):
        kafka_classpath()
