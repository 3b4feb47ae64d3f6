"""Texts for callers and operators: why a path cannot serve a query, and changes that would help.

They name no attribute that the caller may not see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from dynamodb_processor_server.catalog.schema import AccessPath, KeyAttribute, Table
from dynamodb_processor_server.errors import PreconditionFailed, PreconditionReason
from dynamodb_processor_server.query.expression.ast import Condition
from dynamodb_processor_server.query.expression.syntax_hints import bare_word_hint, bare_words
from dynamodb_processor_server.query.planning.plan import RejectedPath
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.query.planning.row_rule_paths import RULED_OUT

NO_CONSISTENT_READS: Final = "global indexes have no consistent reads"
# A message is cut at 800 bytes, so the advice must come before that.
_MAX_REASONS: Final = 8
_TYPES: Final = {"S": "a non-empty string", "N": "a number", "B": "a non-empty binary value"}


def unproven_keys(
    path: AccessPath, proven: Iterable[str], table: Table
) -> tuple[KeyAttribute, ...]:
    """Return the key attributes of an index because of which it may leave out items.

    `proven` are attributes, or fields of key templates, that are valid keys in every matching item.
    """
    sources = map(table.view.sources, proven)
    given = {found[0] for found in sources if len(found) == 1}
    given.update(attribute.name for attribute in table.schema.base.key.attributes)
    return tuple(attribute for attribute in path.key.attributes if attribute.name not in given)


def omission_reason(unproven: Sequence[KeyAttribute], table: Table) -> str:
    """Return the reason to reject an index that may leave out items without these attributes."""
    return (
        f"the index holds only items that have {_names_with_types(unproven, table)}, which neither "
        "the condition nor the catalog guarantees"
    )


def ways_to_use(path: AccessPath, unproven: Sequence[KeyAttribute], table: Table) -> str:
    """Return the ways to use an index that may leave out items without these attributes."""
    names = [_visible_name(attribute, table) for attribute in unproven]
    numbers = all(attribute.type == "N" for attribute in unproven)
    operators = "=, IN or a range" if numbers else "= or IN"
    return (
        f"{_required_or_sparse(unproven, table)}; the caller can set index: {path.label} to accept "
        f"that, or compare {' and '.join(names)} with {operators}"
    )


def index_note(path: AccessPath, unproven: Sequence[KeyAttribute], table: Table) -> str:
    """Return a note for the operator about queries that will not use an index.

    It says for which queries the index is not used, the reason, and the ways to use it.
    """
    fixed = " and ".join(name for attribute in path.key.partition for name in attribute.fields)
    return (
        f"index {path.label} is not used for queries that fix {fixed} alone, because it holds only "
        f"items that have {_names_with_types(unproven, table)}; ways out: "
        f"{ways_to_use(path, unproven, table)}"
    )


def _required_or_sparse(unproven: Sequence[KeyAttribute], table: Table) -> str:
    """Return the catalog options with which an operator can make an index usable."""
    if all(_is_named(attribute, table) for attribute in unproven):
        names = ", ".join(attribute.name for attribute in unproven)
        required = f"required: [{names}]"
    else:
        required = f"`required` for {' and '.join(_visible_name(a, table) for a in unproven)}"
    return (
        f"the operator can set {required} in the catalog if every item has it, or sparse: allow "
        "if items without it may be left out"
    )


def explained_reason(rejected: RejectedPath, table: Table) -> str:
    """Return the reason why a path was rejected, with the ways to use it if there are any."""
    if not rejected.unproven:
        return rejected.reason
    ways = ways_to_use(rejected.path, rejected.unproven, table)
    return f"{rejected.reason}; ways out: {ways}"


def index_refusal(
    rejected: RejectedPath, table: Table, condition: Condition | None
) -> PreconditionFailed:
    """Return the error for a query that names an index which cannot serve it."""
    reason = explained_reason(rejected, table) + _word_hint((rejected,), condition)
    return PreconditionFailed(
        "INDEX_NOT_USABLE",
        "query.index",
        f"{rejected.path.label} cannot serve this query: {reason}",
    )


def refusal(
    rejected: Sequence[RejectedPath],
    table: Table,
    rule: RowRule | None,
    condition: Condition | None,
) -> PreconditionFailed:
    """Return the error for a query that no path can serve, and that must not be a scan.

    An index that only lacks the guarantee that it has every item comes first, with the ways to use
    it; then the partition keys that would help; then the other reasons.
    """
    shown = [other for other in rejected if table.may_name(other.path)]
    nearest = min(
        (other for other in shown if other.unproven),
        key=lambda other: len(other.unproven),
        default=None,
    )
    others = [other for other in shown if other is not nearest][:_MAX_REASONS]
    keys = dict.fromkeys(filter(None, (_keys_to_fix(other, table, rule) for other in others)))
    ways = [f"fix a partition key with = or IN: {', '.join(keys)}"] if keys else []
    global_indexes = [other.path.label for other in others if other.reason == NO_CONSISTENT_READS]
    if global_indexes:
        ways.insert(0, f"accept eventual consistency to use {' or '.join(global_indexes)}")
    advice = "; or ".join(ways) or "no key would do"
    if nearest is not None:
        advice = (
            f"{nearest.path.label}: {explained_reason(nearest, table)}"
            f"{f'; or {advice}' if ways else ''}"
        )
    reasons = "; ".join(f"{other.path.label}: {other.reason}" for other in others)
    because = f" ({reasons})" if reasons else ""
    reason: PreconditionReason
    if rule is not None and any(other.reason == RULED_OUT for other in rejected):
        reason = "ACCESS_RULES"
        refused = f"the access rules of {table.name} do not allow this query"
    else:
        reason = "SCAN_NOT_ALLOWED"
        refused = f"this needs a scan, and scans of {table.name} are not allowed"
    hint = _word_hint(rejected, condition)
    return PreconditionFailed(reason, table.name, f"{refused}{hint}; {advice}{because}")


def _word_hint(rejected: Sequence[RejectedPath], condition: Condition | None) -> str:
    """Return a hint if a partition key is compared with a name, which may be meant as a text."""
    partition = {
        name
        for other in rejected
        for attribute in other.path.key.partition
        for name in (attribute.name, *attribute.fields)
    }
    words = (word for name, word in bare_words(condition) if name in partition)
    word = next(words, None)
    return "" if word is None else f"; {bare_word_hint(word)}"


def _keys_to_fix(rejected: RejectedPath, table: Table, rule: RowRule | None) -> str:
    """Return the partition attributes that would make a path usable; empty if none would."""
    if rejected.fixes_partition or rejected.reason == RULED_OUT:
        return ""
    names = [name for attribute in rejected.path.key.partition for name in attribute.fields]
    if rule is not None:
        names = [name for name in names if name not in rule.fixed]
    return " and ".join(names) if all(map(table.may_show, names)) else ""


def _names_with_types(attributes: Sequence[KeyAttribute], table: Table) -> str:
    return " and ".join(
        f"{attribute.name} as {_TYPES[attribute.type]}"
        if _is_named(attribute, table)
        else _visible_name(attribute, table)
        for attribute in attributes
    )


def _is_named(attribute: KeyAttribute, table: Table) -> bool:
    return table.may_show(attribute.name)


def _visible_name(attribute: KeyAttribute, table: Table) -> str:
    """Return a key attribute's name for the caller, or a description if the name is not visible."""
    if _is_named(attribute, table):
        return attribute.name
    if attribute.template is not None and all(map(table.may_show, attribute.fields)):
        return f"a key of {', '.join(attribute.fields)}"
    return "a key attribute that is not shown"
