"""The metrics that go to CloudWatch, beside the Prometheus metrics that they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from dynamodb_processor_server.telemetry.families import PREFIX

NAMESPACE: Final = "DynamoDBProcessor"
#: The dimension that every metric has.
DEPLOYMENT: Final = "Deployment"


@dataclass(frozen=True, slots=True)
class CoreMetric:
    """A metric of CloudWatch.

    Attributes:
        name: Its name: that of Prometheus in CamelCase, without the prefix.
        kind: `increase` of a counter since the last time; `value` of a gauge, of several series the
            largest; or `values`, the durations of a histogram since the last time.
        unit: CloudWatch's unit.
        labels: The sets of Prometheus labels that it is sent with, as dimensions in CamelCase
            beside the deployment.
    """

    name: str
    kind: Literal["increase", "value", "values"]
    unit: str
    labels: tuple[tuple[str, ...], ...] = ((),)

    @property
    def prometheus(self) -> str:
        """The name of the Prometheus metric."""
        words = "".join(f"_{each.lower()}" if each.isupper() else each for each in self.name)
        return PREFIX + words.removeprefix("_")


CORE_METRICS: Final = (
    CoreMetric("CallsTotal", "increase", "Count", ((), ("code",))),
    CoreMetric("CallSeconds", "values", "Seconds", (("method",),)),
    CoreMetric("CallsUnderWay", "value", "Count"),
    CoreMetric("ReadsTotal", "increase", "Count", (("cache",),)),
    CoreMetric("ReadUnitsTotal", "increase", "Count", ((), ("table",))),
    CoreMetric("ThrottlesTotal", "increase", "Count"),
    CoreMetric("BreakerState", "value", "None"),
    CoreMetric("StreamBehindSeconds", "value", "Seconds"),
    CoreMetric("CachedBytes", "value", "Bytes"),
)


def dimension(label: str) -> str:
    """Return the dimension of a Prometheus label: its name in CamelCase."""
    return "".join(word.capitalize() for word in label.split("_"))
