"""Chooses how a query is read. Pure: a query and a table in, a plan out.

Each access path yields a candidate with a key condition, or the reason why it cannot serve the
query. The cheapest candidate is chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dynamodb_processor_server.catalog.schema import BASE_TABLE, AccessPath, PathKind, Table
from dynamodb_processor_server.errors import FieldViolation, InvalidRequest, PreconditionFailed
from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.ast import (
    Condition,
    Path,
    Query,
    conjuncts,
    paths,
    without_double_negation,
)
from dynamodb_processor_server.query.expression.syntax_hints import bare_word_hint, bare_words
from dynamodb_processor_server.query.expression.validation import ExpressionError
from dynamodb_processor_server.query.planning.candidate import Candidate
from dynamodb_processor_server.query.planning.implied_attributes import proven_keys
from dynamodb_processor_server.query.planning.key_condition import (
    KeyCondition,
    Selectivity,
    merged_choices,
    missing_partition,
    partitions_needed,
)
from dynamodb_processor_server.query.planning.key_types import check_key_types
from dynamodb_processor_server.query.planning.logical_attributes import stored_condition
from dynamodb_processor_server.query.planning.plan import Operation, Plan, RejectedPath
from dynamodb_processor_server.query.planning.refusals import (
    NO_CONSISTENT_READS,
    index_refusal,
    omission_reason,
    refusal,
    unproven_keys,
)
from dynamodb_processor_server.query.planning.request_builder import build_plan
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.query.planning.row_rule_paths import (
    MAX_BRANCHES,
    RULED_OUT,
    grant_rejection_reason,
    key_condition_with_rule,
    terms_with_rule,
)

_WHOLE_PATH: Final = KeyCondition(((),), (), frozenset(), frozenset(), Selectivity.PARTITION)


def plan_query(
    query: Query,
    table: Table,
    rule: RowRule | None = None,
    digest: Callable[[object], bytes] = canonical.digest,
    *,
    is_pinned: bool = False,
) -> Plan:
    """Return the plan for a query of a caller with the row rule `rule`.

    `digest` makes the plan's cache key from data that identify the items which are read.
    `is_pinned` says that the query's index is that of its first page, and not a caller's word: it
    may be one whose name the caller may not see.

    Raises InvalidRequest for a query that no state of the table could serve. Raises
    PreconditionFailed, with the partition keys that would help, if no path can serve it.
    """
    _check_attributes(query, table)
    if query.counts:  # a count has neither order nor attributes
        query = replace(query, descending=False, projection=())
    try:
        query = stored_query(query, table)
        check_key_types(query.condition, table.schema)
    except ExpressionError as error:
        raise InvalidRequest.of("query.expression", str(error)) from None
    caller_terms = caller_conditions(query)
    terms = terms_with_rule(caller_terms, rule)
    candidates: list[Candidate] = []
    rejected: list[RejectedPath] = []
    for path in _paths_to_consider(query, table, is_pinned=is_pinned):
        rejection = _rejection(path, caller_terms, rule, query, table)
        key = None if rejection else key_condition_with_rule(path.key, caller_terms, rule)
        if key is None:
            rejected.append(rejection or RejectedPath(path, RULED_OUT))
        else:
            candidates.append(_query_candidate(path, key, terms, query, table))
    if not candidates:
        candidates = [_scan_candidate(query, table, caller_terms, rule, rejected)]
    best = min(candidates, key=lambda candidate: candidate.cost)
    rejected += [
        RejectedPath(candidate.path, best.advantage(candidate, is_named=table.may_name(best.path)))
        for candidate in candidates
        if candidate is not best
    ]
    rejected = [other for other in rejected if other.path is not best.path]
    return build_plan(query, table, best, tuple(rejected), terms, rule, digest)


def stored_query(query: Query, table: Table) -> Query:
    """Return a query on a table's logical attributes as one on its expanded items.

    Raises ExpressionError.
    """
    condition = stored_condition(query.condition, table.view)
    return replace(query, condition=without_double_negation(condition))


def caller_conditions(query: Query) -> tuple[Condition, ...]:
    """Return the conjuncts of the caller's own condition."""
    return tuple(map(merged_choices, conjuncts(query.condition)))


def _query_candidate(
    path: AccessPath, key: KeyCondition, terms: tuple[Condition, ...], query: Query, table: Table
) -> Candidate:
    """Return the candidate for a path whose partitions the condition fixes."""
    operation = Operation.QUERY
    if not key.branches:
        operation = Operation.NOTHING
    elif key.complete and path.kind is PathKind.TABLE and len(key.branches) == 1:
        operation = Operation.GET
    return Candidate(path, operation, key, not _covers(path, terms, query, table))


def _paths_to_consider(query: Query, table: Table, *, is_pinned: bool) -> tuple[AccessPath, ...]:
    """Return the paths among which the planner may choose for the caller."""
    if query.index is None:
        return table.schema.paths
    path = table.schema.path(query.index)
    if path is None or not (is_pinned or table.may_name(path)):
        raise InvalidRequest.of("query.index", f"{table.name} has no index {query.index[:255]!r}")
    if query.consistent and path.kind is PathKind.GLOBAL:
        raise InvalidRequest.of(
            "query.consistency", f"consistent reads are not possible on global index {query.index}"
        )
    return (path,)


def _rejection(
    path: AccessPath,
    caller_terms: tuple[Condition, ...],
    rule: RowRule | None,
    query: Query,
    table: Table,
) -> RejectedPath | None:
    """Return the rejection of a path that cannot serve the query by its key, else None."""
    reason = grant_rejection_reason(path, caller_terms, rule, table)
    if reason:
        return RejectedPath(path, reason)
    terms = terms_with_rule(caller_terms, rule)
    missing = missing_partition(path.key, terms)
    if missing:
        fixed = " and ".join(missing)
        reason = f"the condition does not fix {fixed} with = or IN"
        return RejectedPath(path, reason, fixes_partition=False)
    partitions = partitions_needed(path.key, terms)
    if partitions > MAX_BRANCHES:
        reason = f"the condition names {partitions} partitions, more than {MAX_BRANCHES}"
        return RejectedPath(path, reason)
    if query.consistent and path.kind is PathKind.GLOBAL:
        return RejectedPath(path, NO_CONSISTENT_READS)
    if query.index is None and table.config.sparse != "allow":
        proven = proven_keys(path, terms, table).union(table.config.required)
        unproven = unproven_keys(path, proven, table)
        if unproven:
            return RejectedPath(path, omission_reason(unproven, table), unproven)
    return None


def _covers(path: AccessPath, terms: tuple[Condition, ...], query: Query, table: Table) -> bool:
    """Return whether a path has every attribute that the query needs."""
    if path.projected is None:
        return True
    needed = [p.attribute for term in terms for p in paths(term)]
    if not query.counts:
        returned = [p.attribute for p in query.projection] or table.config.attributes
        if not returned:
            return False
        needed += returned
    # A field may come from any of the keys that contain it.
    return all(not path.projected.isdisjoint(table.view.sources(name)) for name in needed)


def _scan_candidate(
    query: Query,
    table: Table,
    caller_terms: tuple[Condition, ...],
    rule: RowRule | None,
    rejected: list[RejectedPath],
) -> Candidate:
    """Return the scan for a query that fixes no partition key, if the catalog allows it."""
    path = table.schema.path(query.index or BASE_TABLE)
    assert path is not None, "an unknown index has been refused before"
    ruled_out = rule is not None and not rule.as_filter  # a scan skips items that a rule hides
    many = max(partitions_needed(other.path.key, caller_terms) for other in rejected) > MAX_BRANCHES
    if not table.config.allow_scan or ruled_out or many:
        raise _refusal(query, table, caller_terms, rule, rejected)
    if query.descending:
        raise InvalidRequest.of("query.order", "a scan has no order; fix a partition key")
    fetches = not _covers(path, terms_with_rule(caller_terms, rule), query, table)
    return Candidate(path, Operation.SCAN, _WHOLE_PATH, fetches)


def _refusal(
    query: Query,
    table: Table,
    caller_terms: tuple[Condition, ...],
    rule: RowRule | None,
    rejected: list[RejectedPath],
) -> InvalidRequest | PreconditionFailed:
    widest = max(partitions_needed(other.path.key, caller_terms) for other in rejected)
    if widest > MAX_BRANCHES:
        return InvalidRequest.of(
            "query.expression",
            f"names {widest} partitions; at most {MAX_BRANCHES} are read at once",
        )
    if query.index is not None:
        return index_refusal(rejected[0], table, query.condition)
    return refusal(rejected, table, rule, query.condition)


def _check_attributes(query: Query, table: Table) -> None:
    hints = {word: f"; {bare_word_hint(word)}" for _, word in bare_words(query.condition)}
    violations = [
        FieldViolation(
            "query.expression",
            f"column {path.column}: {table.name} has no {path}{hints.get(path, '')}",
        )
        for path in paths(query.condition)
        if not table.may_show(path.attribute)
    ]
    violations += projection_violations(query.projection, table, "query.projection")
    if violations:
        raise InvalidRequest(violations)


def projection_violations(
    projection: tuple[Path, ...], table: Table, field: str
) -> list[FieldViolation]:
    """Return the errors of selecting these paths of a table's items; `field` names them."""
    # DynamoDB refuses members of the key attributes of any index.
    keys = table.schema.key_types
    violations: list[FieldViolation] = []
    for index, path in enumerate(projection):
        if not table.may_show(path.attribute):
            wrong = f"{table.name} has no {path}"
        elif path.attribute in keys and len(path.parts) > 1:
            wrong = f"{path.attribute} is a key attribute, has no members"
        elif table.view.is_field(path.attribute) and len(path.parts) > 1:
            wrong = f"{path.attribute} is part of a key, has no members"
        else:
            continue
        violations.append(FieldViolation(f"{field}[{index}]", wrong))
    return violations
