"""Settings of reads from DynamoDB: address, timeouts, retries, circuit breaker, admission."""

from __future__ import annotations

from pydantic import BaseModel, Field

from dynamodb_processor_server.dynamodb.backend import BackendSettings
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings
from dynamodb_processor_server.setting_types import OptionalRegion, OptionalUrl, Seconds


class DynamoDBSettings(BaseModel):
    """How DynamoDB is read. Durations are in seconds."""

    endpoint_url: OptionalUrl = Field(
        None,
        description="URL of a DynamoDB endpoint other than AWS's, such as DynamoDB Local.",
    )
    region: OptionalRegion = Field(
        None,
        description="AWS region of tables that name none; absent: `AWS_REGION`, then "
        "`AWS_DEFAULT_REGION`, then the AWS profile.",
    )
    backend_connect_timeout: Seconds = Field(
        3.0, description="Timeout in seconds for connecting to DynamoDB."
    )
    backend_read_timeout: Seconds = Field(
        5.0, description="Timeout in seconds for one response of DynamoDB."
    )
    backend_attempts: int = Field(
        3,
        ge=1,
        le=10,
        description="Maximum number of attempts at one DynamoDB request, the first included; 1 to "
        "10.",
    )
    breaker_failure_rate: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Failure ratio at which the circuit breaker of a table or of a throttled index "
        "opens, above 0 and at most 1. It counts the requests of the last ten seconds, if there "
        "are at least ten.",
    )
    breaker_open_seconds: Seconds = Field(
        2.0,
        description="Seconds an open breaker waits before it lets one probe request through.",
    )
    max_concurrent_reads: int = Field(
        200,
        ge=1,
        description="Maximum number of concurrent reads of DynamoDB, and of connections to it. No "
        "principal has more than seven eighths of the reads.",
    )
    admission_queue: int = Field(
        100,
        ge=0,
        description="Maximum number of reads that wait while `max_concurrent_reads` are running.",
    )
    catalog_refresh: Seconds = Field(
        60.0, description="Seconds between two descriptions (`DescribeTable`) of each table."
    )

    def backend_settings(self) -> BackendSettings:
        """Return how DynamoDB is treated."""
        return BackendSettings(
            attempts=self.backend_attempts,
            attempt_timeout=self.backend_connect_timeout + self.backend_read_timeout,
            connections=self.max_concurrent_reads,
            breaker=BreakerSettings(
                failure_rate=self.breaker_failure_rate, open_seconds=self.breaker_open_seconds
            ),
        )
