"""Every setting of a service, read from the environment (`KOPILKA_…`); `docs/settings.md` is generated from here."""

from functools import cache
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What the people who run a service may change without touching its code."""

    model_config = SettingsConfigDict(env_prefix="KOPILKA_", frozen=True, extra="ignore")

    kafka: str = Field("127.0.0.1:19092", description="Bootstrap servers of Kafka, host:port, comma-separated.")
    topic_replication: int = Field(
        1, ge=1, le=9, description="Replicas of a topic that is made; 3 on a cluster of three brokers or more."
    )
    database: str = Field(
        "postgresql://kopilka@127.0.0.1:15432/postgres",
        description="PostgreSQL server as a URL; each service uses the database of its own name beside the one named.",
    )
    database_prefix: str = Field(
        "", pattern=r"^[a-z0-9_]*$", description="Put before each service's name to make the name of its database."
    )
    database_pool_size: int = Field(10, ge=2, le=200, description="Connections a process keeps to its database.")
    http_host: str = Field("127.0.0.1", description="Address the HTTP API listens on.")
    http_port: int | None = Field(
        None, ge=0, le=65535, description="Port of the HTTP API; by default the service's own (8101 to 8105)."
    )
    api_token: str | None = Field(
        None,
        min_length=16,
        description="Bearer token that every HTTP request must carry (health, metrics, and paths whose callers "
        "have keys of their own, excepted). Needed to listen on anything but loopback.",
    )
    batch_records: int = Field(500, ge=1, le=10_000, description="Most records a worker takes into one transaction.")
    record_max_bytes: int = Field(
        256 * 1024, ge=1024, description="A record with a larger value is a dead letter, bytes."
    )
    session_timeout_s: float = Field(
        6, ge=1, description="A worker that Kafka has not heard of for so long loses its partitions."
    )
    transaction_idle_timeout_s: float = Field(
        10, gt=0, description="PostgreSQL ends a transaction whose process fell silent for so long (a frozen worker)."
    )
    relay_lease_s: float = Field(
        10, gt=0, description="PostgreSQL ends a relay's session that fell silent for so long; another one takes over."
    )
    relay_poll_s: float = Field(0.5, gt=0, description="How often an idle relay looks by itself.")
    relay_batch_records: int = Field(
        10_000, ge=1, le=50_000, description="Most records a relay sends in one transaction."
    )
    dead_letters_cap: int = Field(
        100,
        ge=0,
        description="More dead letters than this within the window stop the worker instead of draining a topic.",
    )
    dead_letters_window_s: float = Field(600, gt=0, description="The window that the cap counts over, seconds.")
    waiting_days: int = Field(
        30,
        ge=1,
        description="A record that came before what it needs (a purchase before its card) waits for it so long; then "
        "it is a dead letter.",
    )
    stall_timeout_s: float = Field(
        60, gt=0, description="A worker with lag whose committed offset stood still for so long is not ready."
    )
    inbox_keep_days: int = Field(
        120, ge=1, description="How long event ids are remembered; longer than any topic keeps its records."
    )
    idempotency_keep_hours: int = Field(
        48, ge=1, description="How long the first answer to an Idempotency-Key is kept."
    )
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or for eyes.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    otlp_endpoint: str | None = Field(
        None, description="OpenTelemetry collector (OTLP over HTTP); without it no span is recorded."
    )
    failpoint: str | None = Field(
        None,
        description="For fault tests only: `name` or `name:N` kills the process with SIGKILL at the N-th passage.",
    )


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
