"""Plans over composed keys read and keep exactly the items that meet the condition.

Each plan is executed on items in memory. So a test fails if the key condition leaves out an item,
or if the service no longer checks a condition that the key does not cover.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.errors import InvalidRequest, PreconditionFailed
from dynamodb_processor_server.query.expression.ast import Query, conjuncts
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.values import from_wire
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import make_table

SCHEMA: Final = Schema(
    "composed",
    "PK",
    "SK",
    (Index("by_place", False, ("GP",), ("GS",)), Index("by_kind", False, ("GP", "K"), ("GS",))),
    {"PK": "S", "SK": "S", "GP": "S", "GS": "S", "K": "S"},
)
#: Sort keys with variable and fixed widths, and with a range in the middle or at the end.
SORT_KEYS: Final = (
    "{b}", "B#{b}", "{b}#{c}", "{b:2}#{c}", "{b:2}{c}", "X{b}#{c:2}", "{c:1}#{b}#Z", "{b}##{c}",
)  # fmt: skip
_ALPHABET: Final = ("", "a", "b", "a!", "aa", "ab", "aab", "b#", "a#b", "😀", "\U0010ffff", "#")
texts = st.sampled_from(_ALPHABET)
EVERYTHING: Final = -1.0  # the table has no time to live


def table(sort: str, **options: Any) -> Table:
    """Return a table whose sort keys have one template."""
    keys = {"PK": "A#{a}", "GP": "{a}#{d}", "SK": sort, "GS": sort, "K": "K{d}"}
    usual = {"keys": keys, "required": list(SCHEMA.types), "expose_keys": False}
    return make_table(SCHEMA, **usual, **options)


def stored(subject: Table, fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the item with these fields; an invalid field gives a key of another form."""
    item: dict[str, Any] = {}
    for template in subject.view.templates:
        try:
            item[template.attribute] = {"S": template.compose(fields)}
        except ValueError:
            item[template.attribute] = {"S": "?" + "".join(fields.values())}
    return item


def reads(plan: Plan, item: Mapping[str, Any], view: Any) -> bool:
    """Return whether executing a plan returns an item."""
    if plan.operation is Operation.NOTHING:
        return False
    partition = tuple(from_wire(item[attribute.name]) for attribute in plan.path.key.partition)
    conditions = (*plan.key.sort_conditions, *conjuncts(plan.filter))
    return (
        partition in plan.key.branches
        and all(evaluate(term, item) for term in conditions)
        and (
            plan.local_filter is None
            or evaluate(plan.local_filter, view.expanded(item, EVERYTHING))
        )
    )


@st.composite
def _term(draw: st.DrawFn, name: str) -> tuple[str, list[str]]:
    """Draw a condition on a field, with a parameter for each of its values."""
    form, count = draw(
        st.sampled_from(
            (
                (f"{name} = :", 1), (f"{name} = :", 1), (f": = {name}", 1), (f"{name} < :", 1),
                (f"{name} <= :", 1), (f"{name} > :", 1), (f"{name} >= :", 1), (f": > {name}", 1),
                (f"{name} <> :", 1), (f"{name} BETWEEN : AND :", 2), (f"{name} IN (:, :)", 2),
                (f"begins_with({name}, :)", 1), (f"contains({name}, :)", 1),
                (f"NOT {name} = :", 1), (f"({name} = : OR {name} > :)", 2),
                (f"attribute_exists({name})", 0), (f"size({name}) < 2", 0),
            )
        )
    )  # fmt: skip
    return form, draw(st.lists(texts, min_size=count, max_size=count))


@st.composite
def _conditions(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw an expression that fixes the fields of a partition key, and its parameters."""
    drawn = [
        ("a = :", [draw(texts)]) if draw(st.booleans()) else ("a IN (:, :)", [draw(texts), "a"]),
        *draw(st.lists(_term("b"), max_size=3)),
        *draw(st.lists(_term("c"), max_size=2)),
        *([("d = :", [draw(texts)])] if draw(st.booleans()) else []),
    ]
    text = ""
    parameters: dict[str, Any] = {}
    for form, values in draw(st.permutations(drawn)):
        text += " AND " if text else ""
        rest = iter(values)
        for character in form:
            text += character
            if character == ":":
                name = f"p{len(parameters)}"
                parameters[name] = from_wire({"S": next(rest)})
                text += name
    return text, parameters


@pytest.mark.parametrize("sort", SORT_KEYS)
@pytest.mark.parametrize("index", [None, "@table", "by_place", "by_kind"])
@given(_conditions(), st.lists(st.fixed_dictionaries(dict.fromkeys("abcd", texts)), min_size=1))
def test_plans_read_the_items_that_meet_the_condition(
    sort: str,
    index: str | None,
    query_text: tuple[str, dict[str, Any]],
    rows: list[dict[str, str]],
) -> None:
    """The conditions derived for the keys add no item and lose none."""
    subject = table(sort, allow_scan=False)
    text, parameters = query_text
    condition = parse_expression(text, parameters)
    query = Query(subject.name, condition, index=index)
    try:
        plan = plan_query(query, subject)
    except InvalidRequest:  # a value that no key can have
        return
    except PreconditionFailed:
        assert index in ("by_place", "by_kind")
        return
    for fields in rows:
        item = stored(subject, fields)
        wanted = evaluate(condition, subject.view.expanded(item, EVERYTHING))
        assert reads(plan, item, subject.view) is wanted, item


#: Sort keys that share the field of the partition key.
SHARING_SORT_KEYS: Final = (
    "A#{a}",
    "{a}#{b}",
    "{b}#{a}",
    "A#{a}#{b:2}",
    "X{b}#{a}",
    "#{a}#{b}#{c}",
)


@pytest.mark.parametrize("sort", SHARING_SORT_KEYS)
@pytest.mark.parametrize("index", [None, "@table", "by_place"])
@given(
    _conditions(),
    st.lists(
        st.tuples(st.fixed_dictionaries(dict.fromkeys("abcd", texts)), st.booleans()), min_size=1
    ),
)
def test_siblings_with_another_form_of_sort_key_are_read_too(
    sort: str,
    index: str | None,
    query_text: tuple[str, dict[str, Any]],
    rows: list[tuple[dict[str, str], bool]],
) -> None:
    """A condition on a partition key's field does not restrict the form of the sort key."""
    subject = table(sort, allow_scan=False)
    text, parameters = query_text
    condition = parse_expression(text, parameters)
    try:
        plan = plan_query(Query(subject.name, condition, index=index), subject)
    except InvalidRequest:  # a value that no key can have
        return
    except PreconditionFailed:
        assert index == "by_place"
        return
    for fields, is_sibling in rows:
        item = stored(subject, fields)
        if is_sibling:
            item |= {"SK": {"S": "ORDER"}, "GS": {"S": "ORDER"}}
        wanted = evaluate(condition, subject.view.expanded(item, EVERYTHING))
        assert reads(plan, item, subject.view) is wanted, item


def test_a_partition_key_shared_with_its_sort_key_gives_all_items() -> None:
    """The user and the items beside the user all have the field."""
    schema = Schema("users", "PK", "SK", (), {"PK": "S", "SK": "S"})
    subject = make_table(schema, keys={"PK": "USER#{id}", "SK": "USER#{id}"})
    condition = parse_expression("id = 'u1'", {})
    plan = plan_query(Query("users", condition), subject)
    assert plan.operation is Operation.QUERY
    assert plan.key.sort_conditions == ()
    for sort in ("USER#u1", "ORDER#7"):
        assert reads(plan, {"PK": {"S": "USER#u1"}, "SK": {"S": sort}}, subject.view)


def test_partition_attributes_may_share_all_their_fields() -> None:
    """It needs the catalog's guarantee for the keys, or a query that names the index."""
    index = Index("by_both", False, ("P1", "P2"), ())
    schema = Schema("both", "id", None, (index,), {"id": "S", "P1": "S", "P2": "S"})
    keys = {"P1": "A#{a}", "P2": "B#{a}"}
    vouched = make_table(schema, keys=keys, required=["P1", "P2"])
    condition = parse_expression("a = 'x'", {})
    for subject, label in ((vouched, None), (make_table(schema, keys=keys), "by_both")):
        plan = plan_query(Query("both", condition, index=label), subject)
        assert plan.path.index == "by_both"
        (branch,) = plan.key.branches
        assert [value.data for value in branch] == ["A#x", "B#x"]
    with pytest.raises(PreconditionFailed, match="the index holds only items that have"):
        plan_query(Query("both", condition), make_table(schema, keys=keys))
