"""Publishes metrics to CloudWatch, if the settings ask for it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.runtime.background import run_in_background
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.cloudwatch.log_lines import log_data
from dynamodb_processor_server.telemetry.cloudwatch.publisher import Publisher
from dynamodb_processor_server.telemetry.cloudwatch.put_metric_data import PutMetricData
from dynamodb_processor_server.telemetry.cloudwatch.sampler import Sampler
from dynamodb_processor_server.telemetry.metrics import CallbackCounter

_SEND_SECONDS: Final = 10.0
_LAST_SECONDS: Final = 2.0  # of a shutdown


def publish_to_cloudwatch(
    settings: Settings, registry: CollectorRegistry, stack: AsyncExitStack
) -> None:
    """Publish the metrics of `registry` until `stack` is closed, and then once more.

    Raises ConfigurationError if the log cannot have metrics.
    """
    if settings.cloudwatch == "off":
        return
    if settings.cloudwatch == "log":
        _check_log(settings)
        send = log_data
    else:
        sender = PutMetricData(settings.effective_region())
        stack.push_async_callback(sender.close)  # after the last data, which it sends
        send = sender.send
    sampler = Sampler(registry, settings.deployment)
    interval = settings.cloudwatch_interval
    publisher = Publisher(sampler.sample, send, interval, min(interval, _SEND_SECONDS))
    text = "Metrics that could not be sent to CloudWatch in time."
    CallbackCounter(registry, "cloudwatch_dropped", text, lambda: publisher.dropped)
    stack.push_async_callback(partial(publisher.publish, _LAST_SECONDS))
    run_in_background(publisher.run(), stack)


def _check_log(settings: Settings) -> None:
    if settings.log_format != "json":
        raise ConfigurationError("cloudwatch: log needs log_format json")
    if settings.log_level not in ("DEBUG", "INFO"):
        raise ConfigurationError("cloudwatch: log needs log_level INFO or DEBUG")
