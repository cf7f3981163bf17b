"""Makes .venv what requirements/ says, with nothing but the standard library: it runs before there is a .venv.

    environment.py run     what `make run` needs
    environment.py dev     that and what tests and linters need
    environment.py lock    write requirements/ anew from pyproject.toml (LOCK_ARGS=--upgrade for newer versions)

Does nothing when the requirement files are those of the last time. uv is taken from the PATH, or put beside
the environment by pip.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".requirements"
LOCK = ROOT / ".venv.lock"
"""Not `.venv/.lock`: that one is uv's own, and uv would wait for us for ever."""
REQUIREMENTS = ROOT / "requirements"
NEEDED_BYTES = 1_500_000_000

IN_RUSSIAN = (os.environ.get("KOPILKA_LANG") or os.environ.get("LC_ALL") or os.environ.get("LANG") or "").startswith(
    "ru"
)

TEXTS = {
    "creating": ("Creating the environment", "Создаю окружение"),
    "disk": (
        "not enough room on the disk of {folder}: free {needed} there and try again",
        "мало места на диске, где {folder}: освободите там {needed} и повторите",
    ),
    "network": (
        "cannot reach the package index ({reason}); connect to the network, or name a mirror with UV_DEFAULT_INDEX",
        "не достучаться до индекса пакетов ({reason}); подключитесь к сети или укажите зеркало в UV_DEFAULT_INDEX",
    ),
    "compiler": (
        (
            "{package} has no ready build for this platform and needs a C compiler: install one "
            "(Debian: apt install build-essential python3-dev; macOS: xcode-select --install) and try again"
        ),
        (
            "для {package} нет готовой сборки под эту платформу, нужен компилятор C: установите его "
            "(Debian: apt install build-essential python3-dev; macOS: xcode-select --install) и повторите"
        ),
    ),
    "venv": (
        (
            "this Python ({python}) comes without venv; install it (Debian: apt install python3-venv), "
            "or install uv, or set KOPILKA_PYTHON to another Python"
        ),
        (
            "этот Python ({python}) без модуля venv; установите его (Debian: apt install python3-venv), "
            "либо установите uv, либо укажите другой Python в KOPILKA_PYTHON"
        ),
    ),
    "permission": (
        "cannot write to {folder}: make it yours, or clone the repository elsewhere",
        "нет прав на запись в {folder}: получите их или склонируйте репозиторий в другое место",
    ),
    "hash": (
        (
            "a downloaded package is not the one that requirements/ names (its checksum differs); "
            "try again, and look at the proxy or mirror on the way"
        ),
        (
            "скачан не тот пакет, что указан в requirements/ (не сошлась контрольная сумма); "
            "повторите, проверьте прокси или зеркало"
        ),
    ),
    "other": ("the environment could not be created: {reason}", "не удалось создать окружение: {reason}"),
}


class Trouble(Exception):
    """One of TEXTS, in the operator's language."""

    def __init__(self, text: str, **facts: object) -> None:
        super().__init__(TEXTS[text][IN_RUSSIAN].format(**facts))


def main(task: str) -> None:
    VENV.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two `make` at once: the second waits and finds the work done
        if task == "lock":
            write_requirements()
        elif not is_current(task):
            sync(task)


def is_current(task: str) -> bool:
    """An environment for tests serves a run as well."""
    stamp = STAMP.read_text() if STAMP.exists() else ""
    return stamp in {fingerprint("dev"), fingerprint(task)} and PYTHON.exists()


def fingerprint(task: str) -> str:
    return f"{task} {hashlib.sha256((REQUIREMENTS / f'{task}.txt').read_bytes()).hexdigest()}"


def sync(task: str) -> None:
    if STAMP.exists() and STAMP.read_text().startswith("dev "):
        task = "dev"
    STAMP.unlink(missing_ok=True)
    print(TEXTS["creating"][IN_RUSSIAN], file=sys.stderr)
    if not works(PYTHON):
        if shutil.disk_usage(ROOT).free < NEEDED_BYTES:
            raise Trouble("disk", folder=ROOT, needed="1.5 GB")
        command(sys.executable, "-m", "venv", "--clear", "--without-pip", str(VENV))
    uv = find_uv()
    requirements = REQUIREMENTS / f"{task}.txt"
    command(
        uv,
        "pip",
        "sync",
        "--require-hashes",
        "--compile-bytecode",
        "--python",
        str(PYTHON),
        str(requirements),
        shown=True,
    )
    put_kopilka_on_its_path()
    STAMP.write_text(fingerprint(task))


def works(python: Path) -> bool:
    """False also for one whose base Python has been removed or is too old."""
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    return python.exists() and subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0


def find_uv() -> str:
    if on_path := shutil.which("uv"):
        return on_path
    home = VENV / "uv"
    uv = home / "bin" / "uv"
    if not uv.exists():
        command(sys.executable, "-m", "venv", "--clear", str(home))
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command(*pip, "--require-hashes", "--only-binary=:all:", "-r", str(REQUIREMENTS / "uv.txt"))
    return str(uv)


def put_kopilka_on_its_path() -> None:
    """The repository is used where it lies; `.venv/bin/kopilka` is the operator's command."""
    site_packages = next((VENV / "lib").glob("python3.*/site-packages"))
    (site_packages / "kopilka.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    script = VENV / "bin" / "kopilka"
    script.write_text(f'#!/bin/sh\nexec "{PYTHON}" -m deploy "$@"\n', encoding="utf-8")
    script.chmod(0o755)


def write_requirements() -> None:
    uv = find_uv()
    compile_ = [uv, "pip", "compile", "--universal", "--generate-hashes", "--no-emit-index-url", "--quiet"]
    compile_ += ["--python-version", "3.11", *os.environ.get("LOCK_ARGS", "").split()]
    for arguments in (
        ["pyproject.toml", "--group", "dev", "-o", "requirements/dev.txt"],
        ["pyproject.toml", "-c", "requirements/dev.txt", "-o", "requirements/run.txt"],
        ["requirements/uv.in", "-o", "requirements/uv.txt"],
    ):
        command(*compile_, *arguments, shown=True)


def command(*words: str, shown: bool = False) -> None:
    """Run it; on failure raise Trouble with its cause. `shown`: its own progress goes to the terminal."""
    environment = os.environ | {"VIRTUAL_ENV": str(VENV)}
    environment.setdefault("UV_HTTP_TIMEOUT", "120")
    if shown and subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode == 0:
        return
    # A second attempt with its words kept: it may even succeed, and if not, it says why.
    environment["UV_HTTP_RETRIES"] = "0"
    result = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise cause(result.stderr + result.stdout)


def cause(output: str) -> Trouble:
    """What went wrong, from the words of pip, uv or venv."""
    for pattern, text in (
        (r"No space left on device|os error 28", "disk"),
        (r"ensurepip", "venv"),
        (r"Permission denied|os error 13", "permission"),
        (r"[Hh]ash mismatch|DO NOT MATCH THE HASHES", "hash"),
        (
            r"dns error|[Cc]onnect(ion)? error|error sending request|[Cc]onnection refused|timed out",
            "network",
        ),
        (r"NewConnectionError|ProxyError|Failed to fetch|No matching distribution found for uv", "network"),
        (r"gcc|g\+\+|clang|\bcc\b|Python\.h|[Cc]ompiler", "compiler"),
    ):
        if telling := [line for line in output.splitlines() if re.search(pattern, line)]:
            package = re.search(r"(?:build|Building wheel for) `?([\w.-]+(?:==[\w.]+)?)", output)
            return Trouble(
                text,
                folder=ROOT,
                needed="1.5 GB",
                python=sys.executable,
                package=package[1] if package else "a package",
                reason=plain(telling[-1]),
            )
    lines = [line for line in output.splitlines() if line.strip()]
    return Trouble("other", reason=plain(lines[-1]) if lines else "?")


def plain(line: str) -> str:
    return re.sub(r"^\s*((ERROR|WARNING|error|[Cc]aus(e|ed by)):\s*)+", "", line)[:200]


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Trouble as trouble:
        sys.exit(f"kopilka: {trouble}")
    except PermissionError as error:
        sys.exit(f"kopilka: {Trouble('permission', folder=error.filename or ROOT)}")
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            sys.exit(f"kopilka: {Trouble('disk', folder=ROOT, needed='1.5 GB')}")
        raise
    except KeyboardInterrupt:
        sys.exit(130)
