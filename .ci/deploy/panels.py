"""The dashboards: their panels and queries. `dashboards.py` writes them as JSON of Grafana."""

from __future__ import annotations

from typing import Final, NamedTuple

# Replicas and, where a metric has the label, tables that the reader of a dashboard has chosen.
_R: Final = 'job=~"$job", instance=~"$instance"'
_T: Final = f'{_R}, table=~"$table"'
_CALLS: Final = f'{_R}, method=~"/dynamodb_processor.+"'
_UNARY: Final = f'{_CALLS}, method!~".+/StreamQuery"'
_D: Final = "dynamodb_processor_"
_RATE: Final = "[$__rate_interval]"


class Query(NamedTuple):
    """An expression in PromQL, and the legend of its series."""

    expression: str
    legend: str


class Panel(NamedTuple):
    """A graph. `unit` is Grafana's name of the unit, `text` explains the graph to its reader."""

    title: str
    unit: str
    text: str
    queries: tuple[Query, ...]


class Dashboard(NamedTuple):
    """A page of panels, two in a row. `uid` is part of its address."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


def _quantile(part: float, metric: str, selector: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    buckets = f"rate({_D}{metric}_bucket{{{selector}}}{_RATE})"
    return f"histogram_quantile({part}, sum by ({labels}) ({buckets}))"


def _rate(metric: str, selector: str, by: str) -> str:
    return f"sum by ({by}) (rate({_D}{metric}{{{selector}}}{_RATE}))"


def _sum(metric: str, selector: str = _R) -> str:
    return f"sum({_D}{metric}{{{selector}}})"


def _bound(setting: str) -> Query:
    return Query(_sum("bound", f'{_R}, setting="{setting}"'), setting)


def _hit_ratio(by: str) -> str:
    hits = _rate("reads_total", f'{_T}, cache=~"HIT|SHARED_HIT|STALE"', by)
    reads = _rate("reads_total", f'{_T}, cache!="BYPASSED"', by)
    return f"{hits} / {reads}"


_LATENCY: Final = tuple(
    Query(_quantile(part, "call_seconds", _UNARY), f"p{round(100 * part)}")
    for part in (0.5, 0.95, 0.99)
)

OVERVIEW: Final = Dashboard(
    "dynamodb-processor-overview",
    "DynamoDB Processor: overview",
    (
        Panel(
            "Calls by status", "reqps", "Ended calls a second, without probes.",
            (Query(_rate("calls_total", _CALLS, "code"), "{{code}}"),),
        ),
        Panel(
            "Failed calls", "percentunit",
            "Part of the calls that failed by the service's fault. The objective allows 0.1 %.",
            (Query('dynamodb_processor:error_ratio:rate5m{job=~"$job"}', "{{job}}"),),
        ),
        Panel(
            "Latency of unary calls", "s", "Time from the headers of a call to its end.", _LATENCY
        ),
        Panel(
            "p99 latency by method", "s", "Streams take as long as their callers read.",
            (Query(_quantile(0.99, "call_seconds", _CALLS, "method"), "{{method}}"),),
        ),
        Panel(
            "Failures by reason", "reqps", "Reasons are in docs/reference/errors.md.",
            (Query(_rate("failures_total", _R, "reason"), "{{reason}}"),),
        ),
        Panel(
            "Speed of spending the error budget", "short",
            "1 spends the budget of 30 days in 30 days. Alerts begin at 14.4 (1 h) and 6 (6 h).",
            tuple(
                Query(f'dynamodb_processor:error_ratio:rate{each}{{job=~"$job"}} / 0.001', each)
                for each in ("1h", "6h", "3d")
            ),
        ),
        Panel(
            "Replicas", "short", "Replicas that are up, and those that accept calls.",
            (
                Query('count(up{job=~"$job", instance=~"$instance"} == 1)', "up"),
                Query(_sum("ready"), "ready"),
            ),
        ),
        Panel(
            "Hit ratio", "percentunit", "Part of the reads that may use the cache and did.",
            (Query(_hit_ratio("job").replace(_T, _R), "{{job}}"),),
        ),
        Panel(
            "Processor time", "percentunit", "Part of one core; a replica uses one core at most.",
            (Query(f"rate(process_cpu_seconds_total{{{_R}}}{_RATE})", "{{instance}}"),),
        ),
        Panel(
            "Lag of the event loop, p99", "s", "Calls wait that long for their turn.",
            (
                Query(
                    _quantile(0.99, "event_loop_lag_seconds", _R, "instance"), "{{instance}}"
                ),
            ),
        ),
        Panel(
            "Memory", "bytes", "Resident memory, and its limit.",
            (
                Query(
                    f"process_resident_memory_bytes{{{_R}}} "
                    f"and on (job, instance) {_D}memory_limit_bytes",
                    "{{instance}}",
                ),
                Query(f"min({_D}memory_limit_bytes{{{_R}}})", "limit"),
            ),
        ),
        Panel(
            "Reads under way", "short", "Reads of DynamoDB that run and wait, and the bound.",
            (
                Query(_sum("active_reads"), "running"),
                Query(_sum("waiting_reads"), "waiting"),
                _bound("max_concurrent_reads"),
            ),
        ),
    ),
)  # fmt: skip

CACHE: Final = Dashboard(
    "dynamodb-processor-cache",
    "DynamoDB Processor: cache",
    (
        Panel(
            "Reads by cache status", "reqps",
            "HIT and STALE come from the replica, SHARED_HIT from Redis.",
            (Query(_rate("reads_total", _T, "cache"), "{{cache}}"),),
        ),
        Panel(
            "Hit ratio by table", "percentunit", "Reads that bypass the cache are left out.",
            (Query(_hit_ratio("table"), "{{table}}"),),
        ),
        Panel(
            "Lookups in the replica", "reqps", "Lookups of pages in the local cache, by result.",
            (Query(_rate("cache_lookups_total", _T, "result"), "{{result}}"),),
        ),
        Panel(
            "Evictions", "reqps", "Pages a second that made room for others.",
            (Query(_rate("cache_evictions_total", _T, "table"), "{{table}}"),),
        ),
        Panel(
            "Size of the cache", "bytes", "Bytes of all replicas, and the bound.",
            (Query(_sum("cached_bytes"), "cached"), _bound("cache_max_bytes")),
        ),
        Panel("Pages", "short", "Cached pages.", (Query(_sum("cached_pages"), "pages"),)),
        Panel(
            "Operations on Redis", "reqps", "Operations of the shared cache by outcome.",
            (
                Query(
                    _rate("shared_cache_operations_total", _R, "operation, outcome"),
                    "{{operation}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Redis", "short", "1 while invalidations arrive, and how often all pages were dropped.",
            (
                Query(f"min by (instance) ({_D}shared_cache_fresh{{{_R}}})", "fresh {{instance}}"),
                Query(
                    f"sum by (reason) ({_D}shared_cache_resets_total{{{_R}}})", "resets: {{reason}}"
                ),
            ),
        ),
        Panel(
            "Invalidations", "reqps", "Calls of InvalidateCache, and whole tables by streams.",
            (
                Query(
                    _rate("calls_total", f'{_R}, method=~".+/InvalidateCache"', "code"),
                    "InvalidateCache {{code}}",
                ),
                Query(
                    _rate("stream_table_invalidations_total", _T, "table, reason"),
                    "{{table}} {{reason}}",
                ),
            ),
        ),
        Panel(
            "Lag of streams", "s", "Time up to which every write is known, and age of records.",
            (
                Query(
                    f"max by (table) ({_D}stream_behind_seconds{{{_T}}})", "{{table}} behind"
                ),
                Query(_quantile(0.99, "stream_record_age_seconds", _T, "table"), "{{table}} p99"),
            ),
        ),
    ),
)  # fmt: skip

DYNAMODB: Final = Dashboard(
    "dynamodb-processor-dynamodb",
    "DynamoDB Processor: DynamoDB",
    (
        Panel(
            "Requests by outcome", "reqps", "Requests to DynamoDB, retries included.",
            (Query(_rate("backend_calls_total", _T, "outcome"), "{{outcome}}"),),
        ),
        Panel(
            "p99 time of requests", "s", "One request, without pauses before retries.",
            (Query(_quantile(0.99, "backend_call_seconds", _T, "table"), "{{table}}"),),
        ),
        Panel(
            "Read units by table and index", "short", "Read capacity consumed a second.",
            (Query(_rate("read_units_total", _T, "table, index"), "{{table}} {{index}}"),),
        ),
        Panel(
            "Items evaluated for one returned", "short",
            "Many mean that filters read in vain: ask ExplainQuery.",
            (
                Query(
                    f"{_rate('items_scanned_total', _T, 'table')} "
                    f"/ {_rate('items_returned_total', _T, 'table')}",
                    "{{table}}",
                ),
            ),
        ),
        Panel(
            "Throttling by index and reason", "reqps", "The index and the reason DynamoDB names.",
            (
                Query(
                    _rate("throttles_total", _T, "table, index, reason"),
                    "{{table}} {{index}} {{reason}}",
                ),
            ),
        ),
        Panel(
            "Circuit breakers", "short", "0 closed, 1 half-open, 2 open; the worst replica counts.",
            (
                Query(f"max by (table, index) ({_D}breaker_state{{{_T}}})", "{{table}} {{index}}"),
                Query(_sum("open_partition_breakers"), "open partitions"),
            ),
        ),
        Panel(
            "Retries and rejections", "reqps", "Requests made again, and those a breaker rejected.",
            (
                Query(_rate("backend_retries_total", _T, "table"), "{{table}} retried"),
                Query(_rate("breaker_refusals_total", _T, "table"), "{{table}} rejected"),
            ),
        ),
        Panel(
            "Queue for reads", "short", "Reads that wait, and the bound of the queue.",
            (Query(_sum("waiting_reads"), "waiting"), _bound("admission_queue")),
        ),
    ),
)  # fmt: skip

CALLERS: Final = Dashboard(
    "dynamodb-processor-callers",
    "DynamoDB Processor: callers",
    (
        Panel(
            "Read units by principal", "short", "Read capacity consumed a second.",
            (Query(_rate("principal_read_units_total", _R, "principal"), "{{principal}}"),),
        ),
        Panel(
            "Failures by principal", "reqps", "An empty name is a caller without a valid key.",
            (
                Query(
                    _rate("failures_total", _R, "principal, reason"), "{{principal}} {{reason}}"
                ),
            ),
        ),
        *(
            Panel(
                title, "percentunit", "Part of the limit; more than 1 is debt.",
                (
                    Query(
                        f"max by ({by}) ({_D}rate_limit_{metric}_used{{{_R}}})",
                        " ".join(f"{{{{{label}}}}}" for label in by.split(", ")),
                    ),
                ),
            )
            for title, metric, by in (
                ("Calls of the limit", "calls", "principal, table"),
                ("Read units of the limit", "read_units", "principal, table"),
                ("Planning time of the limit", "planning", "principal"),
            )
        ),
        Panel(
            "Planning time", "percentunit", "Part of one core that planning takes.",
            (Query(_rate("planning_seconds_total", _R, "principal"), "{{principal}}"),),
        ),
        Panel(
            "Refused page tokens", "reqps", "Expired ones, and those of another query or caller.",
            (Query(_rate("tokens_refused_total", _R, "reason"), "{{reason}}"),),
        ),
        Panel(
            "Calls under way", "short", "Calls whose answer is not sent completely.",
            (
                Query(_sum("calls_under_way"), "authenticated"),
                Query(_sum("unauthenticated_calls"), "others"),
                Query(_sum("pending_requests"), "requests arriving"),
                _bound("max_calls"),
            ),
        ),
        Panel(
            "Answers not taken", "bytes", "Bytes that slow clients have not taken, and the bound.",
            (Query(_sum("unsent_bytes"), "unsent"), _bound("max_unsent_bytes")),
        ),
        Panel(
            "Refusals at bounds", "reqps", "Calls refused at a bound, and connections closed.",
            (
                Query(_rate("bound_refusals_total", _R, "bound"), "{{bound}}"),
                Query(_rate("connections_closed_total", _R, "job"), "connections closed"),
            ),
        ),
    ),
)  # fmt: skip

DASHBOARDS: Final = (OVERVIEW, CACHE, DYNAMODB, CALLERS)
