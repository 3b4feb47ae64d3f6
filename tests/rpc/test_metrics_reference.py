"""The page of metrics is complete: every metric that a server exports, and no other."""

from __future__ import annotations

import re
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from dynamodb_processor_server.limits.call_rate import RateClass
from tests.rpc.data import ULRIKE, event, events_schema
from tests.rpc.tls_world import TlsWorld
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import (
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refused,
)
from tests.support.scraping import families, metric
from tests.support.tokens import SigningKey, key_set, write_identity

_PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
# The name, type, labels and meaning of a metric; the unit is not empty.
_ROW: Final = re.compile(r"^\| `(\w+)` \| (\w+) \| ((?:`\w+`(?:, )?)*) \| [^|]*\w[^|]* \| (.+) \|$")
# Nothing happens here that would give them a sample: Redis does not answer, and DynamoDB does.
_WITHOUT_SAMPLES: Final = {
    "dynamodb_processor_failures_total",
    "dynamodb_processor_shared_cache_resets_total",
    "dynamodb_processor_throttles_total",
}


@dataclass(frozen=True)
class Described:
    """A metric as the page or a server describes it; the labels are None without samples."""

    kind: str
    labels: frozenset[str] | None
    meaning: str


def written() -> dict[str, Described]:
    """Return each metric on the page."""
    rows = map(_ROW.match, _PAGE.read_text(encoding="utf-8").splitlines())
    return {
        row[1]: Described(
            row[2], frozenset(re.findall(r"`(\w+)`", row[3])), row[4].replace("`", "")
        )
        for row in rows
        if row is not None
    }


async def exported(service: Service) -> dict[str, Described]:
    """Return each metric that a server exports."""
    found = {}
    for family in await families(service):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        assert len(labels) <= 1, name
        found[name] = Described(family.type, next(iter(labels), None), family.documentation)
    return found


@pytest.fixture
def options(tmp_path: Path, dynamodb_local: str) -> dict[str, Any]:
    """A server that follows a stream and limits read units, so that their metrics have samples."""
    table = f"rpc-metrics-{uuid.uuid4().hex[:8]}"
    with closing(open_client(dynamodb_local)) as client:
        create_table(client, events_schema(table), stream_view="NEW_AND_OLD_IMAGES")
        put_items(client, table, [event(ULRIKE, 1)])
    served = {"table": table, "invalidate_from_stream": True}
    (tmp_path / "keys.json").write_bytes(key_set(SigningKey()))
    write_identity(tmp_path / "identity.yaml", {"all": {"tables": ["*"]}}, jwks_file="keys.json")
    return {
        "directory": tmp_path,
        "endpoint_url": dynamodb_local,
        "catalog": {"tables": {"events": served}},
        "keys": [make_key("reports"), make_key("stranger", tables=["another"])],
        "identity": tmp_path / "identity.yaml",
        "grants": "warn",
        "metrics_listen": "127.0.0.1:0",
        "cloudwatch": "log",
        "tracing": "otlp",
        "tracing_endpoint": "http://127.0.0.1:1",
        "rate_classes": {"default": RateClass(1_000, read_units_per_minute=1_000)},
    }


async def _after_a_read(options: dict[str, Any], until: str) -> dict[str, Described]:
    """Return the metrics of a server that has read, once one of them is above zero."""
    async with open_service(**options) as service:
        spec = query_spec("events", "user_id = :u", parameters={"u": ULRIKE})
        await service.query(spec)
        await service.query(spec, key="stranger")
        service.keys["unknown"] = make_key("unknown")
        await refused(service.query(spec, key="unknown"))
        await eventually(lambda: metric(service, "bearer_key_reads_total"))
        await eventually(lambda: metric(service, until))
        return await exported(service)


async def test_the_page_describes_every_metric_and_no_other(
    options: dict[str, Any], tmp_path: Path
) -> None:
    """As two servers export them: one with TLS, without Redis; and one with a Redis that is down.

    Type, labels and, but for Prometheus's own metrics of the process, the meaning are the same.
    """
    redis = {
        "redis_url": "redis://127.0.0.1:1",
        "token_keys": f"a:{'A' * 43}",
        "rate_limit_store": "redis",
    }
    world = TlsWorld(tmp_path / "tls")
    followed = options | {"single_replica": True, "connect": world.connect(), **world.settings}
    alone = await _after_a_read(followed, until="stream_table_invalidations_total")
    shared = await _after_a_read(options | redis, until="stream_lease_failures_total")
    page = written()
    assert sorted(page) == sorted(alone | shared)
    for name, described in page.items():
        seen = [metrics[name] for metrics in (alone, shared) if name in metrics]
        assert {one.kind for one in seen} == {described.kind}, name
        labels = {one.labels for one in seen} - {None}
        assert labels == {described.labels} or name in _WITHOUT_SAMPLES, name
        if name.startswith("dynamodb_processor_"):
            assert {one.meaning for one in seen} == {described.meaning}, name
