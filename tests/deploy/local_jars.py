"""A jar repository on the loopback, so that the download itself is tested without the internet."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from deploy.local.kafka_jars import Jar, kafka_classpath, locked_jars


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def lay_out_repository(root: Path) -> list[Path]:
    """The locked jars, as links, in a repository's own layout."""
    laid_out = []
    for jar, source in zip(locked_jars(), kafka_classpath(), strict=True):
        target = root / path_in_repository(jar)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
        laid_out.append(target)
    return laid_out


def path_in_repository(jar: Jar) -> str:
    return f"{jar.group.replace('.', '/')}/{jar.artifact}/{jar.version}/{jar.file_name}"


@contextmanager
def served(root: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
