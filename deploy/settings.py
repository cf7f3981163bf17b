"""Settings of `kopilka run` and of the operator's other commands, read from the environment (`KOPILKA_…`)."""

from functools import cache
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.settings import Settings
from deploy.trouble import Trouble
from deploy.words import _

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("customers", "loyalty", "messaging", "segmentation", "feedback")


class RunSettings(BaseSettings):
    """What the person who runs Kopilka on one machine may change."""

    model_config = SettingsConfigDict(env_prefix="KOPILKA_", frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Field(ROOT / ".kopilka", description="Folder of the embedded servers' data and of all logs.")
    kafka: str | None = Field(
        None,
        description="Bootstrap servers of a Kafka of your own, host:port; without it one is started here.",
    )
    database: str | None = Field(
        None,
        description="URL of a PostgreSQL of your own; without it one is started here. "
        "Each service gets a database of its own name beside the one named.",
    )
    database_prefix: str = Field("", description="Put before each service's name to make the name of its database.")
    http_host: str = Field("127.0.0.1", description="Address the HTTP APIs listen on.")
    kafka_port: int = Field(19092, ge=1, le=65535, description="Port of the embedded Kafka.")
    postgres_port: int = Field(15432, ge=1, le=65535, description="Port of the embedded PostgreSQL.")
    customers_port: int = Field(8101, ge=1, le=65535, description="Port of the HTTP API of customers.")
    loyalty_port: int = Field(8102, ge=1, le=65535, description="Port of the HTTP API of loyalty.")
    messaging_port: int = Field(8103, ge=1, le=65535, description="Port of the HTTP API of messaging.")
    segmentation_port: int = Field(8104, ge=1, le=65535, description="Port of the HTTP API of segmentation.")
    feedback_port: int = Field(8105, ge=1, le=65535, description="Port of the HTTP API of feedback.")
    chat_port: int = Field(8110, ge=1, le=65535, description="Port of the sandbox's chat page and Bot API.")
    telegram_token: str | None = Field(
        None, description="Token of a real Telegram bot; without it the sandbox plays Telegram."
    )

    @property
    def bootstrap(self) -> str:
        return self.kafka or f"127.0.0.1:{self.kafka_port}"

    @property
    def dsn(self) -> str:
        return self.database or f"postgresql://kopilka@127.0.0.1:{self.postgres_port}/postgres"

    def port(self, service: str) -> int:
        port = getattr(self, f"{service}_port")
        assert isinstance(port, int)
        return port

    def url(self, service: str) -> str:
        return f"http://{self.http_host}:{self.port(service)}"

    @property
    def of_services(self) -> Settings:
        """What the services themselves get to know: for reading their databases and topics from here."""
        return Settings(kafka=self.bootstrap, database=self.dsn, database_prefix=self.database_prefix)


@cache
def run_settings() -> RunSettings:
    """The settings of this process. Raises Trouble that names the setting at fault."""
    try:
        return RunSettings()
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = "KOPILKA_" + "_".join(map(str, fault["loc"])).upper()
        raise Trouble(_("{setting}: {fault}").format(setting=name, fault=fault["msg"])) from error
