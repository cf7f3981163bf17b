"""What the house consists of on one machine: five services, and the sandbox that plays the world outside."""

from deploy.children import Program
from deploy.settings import SERVICES, RunSettings

CHAT = "telegram"
TILLS = "tills"


def service_programs(settings: RunSettings, *, sandbox: bool) -> list[Program]:
    """The services, each told where the bus, its database and its port are."""
    telegram = {"KOPILKA_TELEGRAM_API": settings.url("chat")} if sandbox and not settings.telegram_token else {}
    return [
        Program(
            service,
            (f"services.{service}",),
            _of_all(settings) | {"KOPILKA_HTTP_PORT": str(settings.port(service))} | telegram,
        )
        for service in SERVICES
    ]


def migration_program(settings: RunSettings) -> Program:
    """Brings the databases of all services up to date and ends."""
    return Program("migrate", ("deploy.migrate",), _of_all(settings))


def sandbox_programs(settings: RunSettings, *, rate: float, speed: float) -> list[Program]:
    """Simulated tills, and Telegram unless a real bot's token is given."""
    programs = [
        Program(
            TILLS,
            ("deploy.sandbox.tills", "--rate", f"{rate:g}", "--speed", f"{speed:g}"),
            _of_all(settings),
        )
    ]
    if not settings.telegram_token:
        programs.insert(0, Program(CHAT, ("deploy.sandbox.telegram",), _of_all(settings)))
    return programs


def _of_all(settings: RunSettings) -> dict[str, str]:
    return {
        "KOPILKA_HOME": str(settings.home),
        "KOPILKA_KAFKA": settings.bootstrap,
        "KOPILKA_DATABASE": settings.dsn,
        "PYTHONUNBUFFERED": "1",
        "TYPER_STANDARD_TRACEBACK": "1",  # a log is no terminal: no boxes in it
    }
