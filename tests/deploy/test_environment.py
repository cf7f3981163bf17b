import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from deploy import environment

ROOT = environment.ROOT
TOOLS = ("sh", "dirname", "env")

needs_uv = pytest.mark.skipif(
    not (shutil.which("uv") or (ROOT / ".venv/uv/bin/uv").exists()),
    reason="uv is neither on the PATH nor beside the environment, and tests fetch nothing",
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository that requires no package at all."""
    clone = tmp_path / "clone"
    (clone / "deploy").mkdir(parents=True)
    (clone / "requirements").mkdir()
    for name in ("environment.sh", "environment.py"):
        shutil.copy(ROOT / "deploy" / name, clone / "deploy" / name)
    for name in ("run.txt", "dev.txt"):
        (clone / "requirements" / name).write_text("")
    return clone


def make_environment(clone: Path, task: str, **environ: str) -> subprocess.CompletedProcess[str]:
    path = f"{ROOT}/.venv/uv/bin:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", str(clone / "deploy/environment.sh"), task],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={"PATH": path, "HOME": str(clone), "KOPILKA_LANG": "en"} | environ,
    )


@needs_uv
def test_the_environment_is_made_once_and_again_only_when_the_requirements_change(clone: Path) -> None:
    first = make_environment(clone, "run")
    assert (first.returncode, first.stderr.splitlines()[0]) == (0, "Creating the environment")
    assert make_environment(clone, "run").stderr == ""
    (clone / "requirements/run.txt").write_text("# changed\n")
    assert "Creating the environment" in make_environment(clone, "run").stderr


@needs_uv
def test_an_environment_that_is_there_gets_what_is_required_now(clone: Path, tmp_path: Path) -> None:
    make_environment(clone, "run")
    (clone / "requirements/run.txt").write_text(required(wheel(tmp_path)))
    assert make_environment(clone, "run").returncode == 0
    assert subprocess.check_output([clone / ".venv/bin/python", "-c", "import purse; print(purse.COINS)"]) == b"3\n"


def wheel(folder: Path) -> Path:
    """A package of one line."""
    path = folder / "purse-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("purse.py", "COINS = 3\n")
        packed.writestr("purse-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: purse\nVersion: 1.0\n")
        packed.writestr("purse-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr("purse-1.0.dist-info/RECORD", "")
    return path


def required(package: Path) -> str:
    return f"purse @ {package.as_uri()} --hash=sha256:{hashlib.sha256(package.read_bytes()).hexdigest()}\n"


@needs_uv
def test_an_environment_for_tests_serves_a_run_too(clone: Path) -> None:
    make_environment(clone, "dev")
    assert make_environment(clone, "run").stderr == ""


@needs_uv
def test_an_environment_whose_python_is_gone_is_made_anew(clone: Path) -> None:
    make_environment(clone, "run")
    python = clone / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert make_environment(clone, "run").returncode == 0
    assert python.exists()


@needs_uv
def test_the_operators_command_finds_the_repository_from_any_folder(clone: Path, tmp_path: Path) -> None:
    make_environment(clone, "run")
    (clone / "deploy/__init__.py").write_text("")
    (clone / "deploy/__main__.py").write_text("import sys; print(sys.argv[1:])")
    answer = subprocess.check_output([clone / ".venv/bin/kopilka", "status"], cwd=tmp_path, text=True)
    assert answer == "['status']\n"


@pytest.mark.parametrize(("language", "words"), [("en", "Python 3.11 or newer"), ("ru_RU.UTF-8", "нужен Python 3.11")])
def test_a_machine_without_a_new_enough_python_is_told_so(
    clone: Path, tmp_path: Path, language: str, words: str
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool) or "")
    old = folder / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # what the version check of an older one answers
    old.chmod(0o755)
    told = make_environment(clone, "run", PATH=str(folder), KOPILKA_LANG=language)
    assert told.returncode == 1
    assert words in told.stderr
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "error: Failed to fetch: `…/typer/`\n  Caused by: dns error: failed to lookup address",
            "connect to the network",
        ),
        ("ERROR: No matching distribution found for uv==0.13.9", "connect to the network"),
        ("error: Failed to extract\n  Caused by: No space left on device (os error 28)", "not enough room"),
        (
            "error: Failed to build `uvloop==0.23.0`\n  error: command 'gcc' failed: No such file",
            "C compiler",
        ),
        ("The virtual environment was not created because ensurepip is not available.", "python3-venv"),
        ("error: Hash mismatch for `typer==0.29.2`", "checksum differs"),
        ("error: failed to create directory: Permission denied (os error 13)", "cannot write"),
        ("error: something new", "something new"),
    ],
)
def test_every_cause_is_one_line_with_the_mend(output: str, words: str) -> None:
    told = str(environment.cause(output))
    assert words in told
    assert "\n" not in told


def test_the_package_without_a_ready_build_is_named() -> None:
    told = str(environment.cause("error: Failed to build `uvloop==0.23.0`\n  error: command 'gcc' failed"))
    assert told.startswith("uvloop==0.23.0 ")


def test_no_requirement_file_names_a_host_and_every_package_has_a_hash() -> None:
    for file in (ROOT / "requirements").glob("*.txt"):
        text = file.read_text()
        assert "://" not in text
        assert "--index-url" not in text.split("\n", 3)[3]
        packages = [line for line in text.splitlines() if "==" in line and not line.startswith(("#", " "))]
        assert packages
        assert text.count(" \\\n    --hash=sha256:") >= len(packages)
