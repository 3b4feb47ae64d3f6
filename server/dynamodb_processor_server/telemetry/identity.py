"""Metrics of bearer tokens, and of the mode in which grants only warn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from dynamodb_processor_server.auth.bearer.tokens import BearerTokens
from dynamodb_processor_server.telemetry.families import counter, gauge
from dynamodb_processor_server.telemetry.labels import Labels


class IdentityMetrics(Collector):
    """Calls that no grant allows, verified bearer tokens, and the keys of their issuers.

    Attributes:
        warnings: The number of calls that no grant allows, by table, while grants only warn.
    """

    def __init__(
        self, registry: CollectorRegistry, tokens: BearerTokens | None, labels: Labels
    ) -> None:
        self.warnings = Counter[str]()
        self._tokens = tokens
        self._labels = labels
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        table = self._labels.tables.of
        text = "Calls that no grant allows, let through because of grants=warn."
        warnings = [((table(name),), count) for name, count in list(self.warnings.items())]
        yield counter("grant_warnings", text, ("table",), warnings)
        if self._tokens is not None:
            yield from _of_tokens(self._tokens)


def _of_tokens(tokens: BearerTokens) -> Iterator[Metric]:
    text = "Bearer tokens that were verified, because the cache did not have them."
    yield counter("bearer_tokens_verified", text, (), [((), tokens.verified)])
    keys = list(tokens.keys.items())
    text = "Reads of an issuer's key set, by outcome: ok or failed."
    reads = [
        ((issuer, outcome), count)
        for issuer, one in keys
        for outcome, count in list(one.reads.items())
    ]
    yield counter("bearer_key_reads", text, ("issuer", "outcome"), reads)
    text = "Time since an issuer's key set was last read."
    ages = [((issuer,), age) for issuer, one in keys if (age := one.age) is not None]
    yield gauge("bearer_key_age_seconds", text, ("issuer",), ages)
