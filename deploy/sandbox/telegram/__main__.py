"""The sandbox's Telegram: Bot API and chat page."""

import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvicorn

from chassis.edge import is_loopback
from chassis.logs import configure_logs
from chassis.settings import settings
from deploy.local.ports import require_free
from deploy.sandbox.telegram.limits import Limits
from deploy.sandbox.telegram.sandbox import TOKEN, Sandbox
from deploy.sandbox.telegram.words import _
from deploy.trouble import Trouble


class _Server(uvicorn.Server):
    """Long polls and open pages end at once when it is told to stop."""

    def __init__(self, config: uvicorn.Config, sandbox: Sandbox) -> None:
        super().__init__(config)
        self.sandbox = sandbox

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.sandbox.close()
        super().handle_exit(sig, frame)


def run(
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="KOPILKA_CHAT_PORT", help="Port to listen on.")] = 8110,
    host: Annotated[str, typer.Option(help="Address to listen on; another than loopback is open to the network.")] = (
        "127.0.0.1"
    ),
    home: Annotated[Path, typer.Option(envvar="KOPILKA_HOME", help="Folder that remembers the chats.")] = (
        Path(".kopilka")
    ),
    token: Annotated[str, typer.Option(help="Token of the sandbox's bot.")] = TOKEN,
    per_second: Annotated[float, typer.Option(min=0, help="Messages a second to everybody; 0: no limit.")] = 30,
    per_chat_per_second: Annotated[float, typer.Option(min=0, help="Messages a second to a chat; 0: no limit.")] = 1,
    chat_burst: Annotated[int, typer.Option(min=1, help="Messages to a chat that may come at once.")] = 5,
) -> None:
    """Serve the Bot API, the chat page and /sandbox/… until SIGTERM or SIGINT."""
    quiet = {} if "log_level" in settings().model_fields_set else {"log_level": "warning"}
    configure_logs("sandbox", settings().model_copy(update=quiet))
    limits = Limits(per_second=per_second, per_chat_per_second=per_chat_per_second, chat_burst=chat_burst)
    try:
        require_free(port, "telegram", "KOPILKA_CHAT_PORT")
        sandbox = Sandbox(home / "sandbox", token=token, limits=limits)
    except Trouble as trouble:
        sys.exit(str(trouble))
    config = uvicorn.Config(
        sandbox.app(local_only=is_loopback(host)),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=3,
    )
    with socket.create_server((host, port)) as listening:
        print(_("chats: {url}").format(url=f"http://{host}:{port}/"), flush=True)
        _Server(config, sandbox).run(sockets=[listening])


if __name__ == "__main__":
    typer.run(run)
