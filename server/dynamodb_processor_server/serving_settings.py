"""Settings of the server itself: its files, where it listens, what bounds its clients, its log."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from dynamodb_processor_server.setting_types import Address, OptionalAddress, Seconds

ENVIRONMENT_PREFIX: Final = "DYNAMODB_PROCESSOR_"
MEBIBYTE: Final = 1024 * 1024
_LONGEST_CONNECTION: Final = 2_000_000  # gRPC counts milliseconds in 32 bits


class ServingSettings(BaseSettings):
    """How the server serves. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    catalog: Path = Field(description="The catalog file: which tables can be read.")
    keys: Path = Field(description="The keys file: who may read them.")
    listen: Address = Field(
        "127.0.0.1:50051",
        description="Where to serve gRPC, HOST:PORT; port 0 picks a free one. All addresses of the "
        "host are served, or none.",
    )
    metrics_listen: OptionalAddress = Field(
        "127.0.0.1:9464",
        description="Where to serve Prometheus metrics over HTTP; empty serves none.",
    )
    reflection: Literal["open", "authenticated", "off"] = Field(
        "open", description="Who may ask for the contract by server reflection."
    )
    compression: Literal["off", "gzip"] = Field(
        "off", description="Of responses, to callers who accept it: less traffic for more CPU."
    )
    max_connection_age: float = Field(
        300.0,
        ge=0,
        le=_LONGEST_CONNECTION,
        description="Seconds after which the server has a client open another connection, so that "
        "clients spread over new replicas; 0: never.",
    )
    max_connection_age_grace: float = Field(
        60.0,
        gt=0,
        le=_LONGEST_CONNECTION,
        description="Seconds that calls under way then have to end; streams that last longer break "
        "with `UNAVAILABLE` and go on from their `resume_token`.",
    )
    max_connections: int = Field(
        1_000,
        ge=2,
        le=1_000_000,
        description="Connections to `listen` at once, of which no address has more than half for "
        "long: those that have been silent longest are closed. Fewer where the limit on open files "
        "(`ulimit -n`) leaves none for the rest.",
    )
    max_calls_per_connection: int = Field(
        250,
        ge=1,
        le=10_000,
        description="Calls under way on one connection; clients hold back what is more.",
    )
    max_calls: int = Field(
        4_000,
        ge=2,
        description="Calls under way, of which no principal has more than half: until their "
        "answers have been taken.",
    )
    max_unauthenticated_calls: int = Field(
        2_000,
        ge=64,
        description="Calls under way whose callers are not known (health, open reflection, refused "
        "keys); where there are more, the connection with most of them is closed.",
    )
    max_unsent_bytes: int = Field(
        128 * MEBIBYTE,
        ge=2 * MEBIBYTE,
        description="Bytes of answers that callers have not taken yet, of which no principal has "
        "more than half; a process needs about twice as much memory for them.",
    )
    request_timeout: Seconds = Field(
        10.0, description="Seconds that a request may take to come whole."
    )
    log_format: Literal["json", "console"] = Field("json", description="The form of log lines.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The least level that is logged; the access log is INFO."
    )
