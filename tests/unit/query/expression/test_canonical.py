"""The canonical encoding: golden vectors, and that it includes every field."""

from __future__ import annotations

import dataclasses
import inspect
import json
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any, ClassVar, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.catalog.key_templates import KeyTemplate, TemplateField
from dynamodb_processor_server.catalog.logical_view import LogicalView
from dynamodb_processor_server.catalog.timestamps import TimestampForm
from dynamodb_processor_server.query.expression import ast as model
from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.ast import (
    And,
    Between,
    Comparison,
    Function,
    In,
    Literal,
    Not,
    NotExpired,
    Or,
    Path,
    Query,
    Size,
)
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import Value, WireValue, from_wire
from dynamodb_processor_server.query.planning.plan import Hydration, ResultProjection
from dynamodb_processor_server.query.planning.row_rule import RowRule

FILE: Final = FilePath(__file__).parents[3] / "cases" / "fingerprints.json"
VECTORS: Final[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))


def data_of(written: Any) -> Any:
    """Return the data of a vector's JSON."""
    match written:
        case {"bytes": text}:
            return bytes.fromhex(text)
        case {"decimal": text}:
            return Decimal(text)
        case {"set": members}:
            return frozenset(members)
        case {"map": entries}:
            return entries
    return written


def wire_of(written: dict[str, Any]) -> WireValue:
    """Return the wire value of a vector's JSON; binary is in hexadecimal."""
    return {"B": bytes.fromhex(written["B"])} if "B" in written else written


def query_of(fields: dict[str, Any]) -> Query:
    """Return the query of a vector's JSON."""
    fields = dict(fields)
    given_values = fields.pop("parameters", {})
    parameters = {name: from_wire(wire_of(wire)) for name, wire in given_values.items()}
    text = fields.pop("expression", None)
    return Query(
        condition=parse_expression(text, parameters) if text else None,
        projection=tuple(map(parse_path, fields.pop("projection", ()))),
        **fields,
    )


@pytest.mark.parametrize("vector", VECTORS["encodings"], ids=lambda vector: vector["encoded"])
def test_encodings_are_as_they_were(vector: dict[str, Any]) -> None:
    """Each type of plain data encodes to its golden vector."""
    assert canonical.encode(data_of(vector["data"])) == vector["encoded"].encode()


@pytest.mark.parametrize("vector", VECTORS["fingerprints"], ids=lambda vector: vector["name"])
def test_fingerprints_are_as_they_were(vector: dict[str, Any]) -> None:
    """Queries with their tables, to which page tokens are bound, have their golden fingerprints."""
    source = (TableIdentity(**vector["table"]), vector["role_arn"])
    identity = (source, query_of(vector["query"]))
    assert canonical.digest(identity).hex() == vector["fingerprint"]


# Two values of each class, different in every field that takes part in equality.
_A, _B = Path(("a",)), Path(("b", 0))
_ONE, _TWO = Literal(Value("N", Decimal(1))), Literal(Value("S", "2"))
_SAME, _LESS = Comparison("=", _A, _ONE), Comparison("<", _B, _TWO)
PAIRS: Final[dict[type, tuple[Any, Any]]] = {
    Value: (Value("S", "x"), Value("B", b"x")),
    Path: (_A, _B),
    Literal: (_ONE, _TWO),
    Size: (Size(_A), Size(_B)),
    Comparison: (_SAME, _LESS),
    Between: (Between(_A, _ONE, _TWO), Between(_B, _TWO, _ONE)),
    In: (In(_A, (_ONE,)), In(_B, (_ONE, _TWO))),
    Function: (Function("contains", _A, _ONE), Function("begins_with", _B, None)),
    And: (And((_SAME, _LESS)), And((_LESS, _SAME))),
    Or: (Or((_SAME, _LESS)), Or((_LESS, _SAME))),
    Not: (Not(_SAME), Not(_LESS)),
    NotExpired: (NotExpired("until"), NotExpired("ends")),
    Query: (
        Query("t"),
        Query("u", _SAME, "i", descending=True, projection=(_A,), consistent=True, max_items=0),
    ),
}


def _counting_fields(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.compare]


def test_every_dataclass_of_the_model_has_a_pair() -> None:
    """A new kind of condition has to be added to the pairs above."""
    kinds = {
        kind
        for _, kind in inspect.getmembers(model, inspect.isclass)
        if dataclasses.is_dataclass(kind)
    }
    assert kinds == set(PAIRS)


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind in PAIRS for field in _counting_fields(kind)]
)
def test_every_field_of_the_model_changes_the_digest(kind: type, field: str) -> None:
    """It does so alone, and inside another value."""
    one, other = PAIRS[kind]
    assert getattr(one, field) != getattr(other, field), "the pair must differ in every field"
    changed = dataclasses.replace(one, **{field: getattr(other, field)})
    assert canonical.digest(changed) != canonical.digest(one)
    assert canonical.digest(("x", [changed])) != canonical.digest(("x", [one]))


def test_a_field_without_a_tag_is_refused() -> None:
    """A field that is added to a class cannot be missing from its encoding."""

    @dataclasses.dataclass(frozen=True)
    class Query(model.Query):
        newcomer: int = 0

    with pytest.raises(TypeError, match="Query has no canonical encoding"):
        canonical.digest(Query("t"))


@dataclasses.dataclass(frozen=True)
class _Wider(model.Query):
    CANONICAL_TAGS: ClassVar = ("query", model.Query.CANONICAL_TAGS[1] | {"newcomer": 99})
    newcomer: int = 0


def test_a_field_that_is_added_changes_no_earlier_encoding() -> None:
    """A field at its default value is left out, and any other value is part of the encoding."""
    assert canonical.encode(_Wider("t", _SAME)) == canonical.encode(Query("t", _SAME))
    assert canonical.encode(_Wider("t", newcomer=1)) != canonical.encode(Query("t"))


@dataclasses.dataclass(frozen=True)
class _Negation:
    CANONICAL_TAGS: ClassVar = ("not", {"operand": 1})
    operand: object


def test_names_of_classes_and_fields_do_not_matter() -> None:
    """The encoding has the tags alone."""
    assert canonical.encode(_Negation(_SAME)) == canonical.encode(Not(_SAME))


def test_every_tag_is_used_once() -> None:
    """No two classes have one tag, and no two fields of a class have one number."""
    kinds: list[Any] = [*PAIRS, TableIdentity, LogicalView, KeyTemplate, TemplateField,
                        TimestampForm, RowRule, ResultProjection, Hydration]  # fmt: skip
    names = [kind.CANONICAL_TAGS[0] for kind in kinds]
    assert len(set(names)) == len(names)
    for kind in kinds:
        numbers = kind.CANONICAL_TAGS[1]
        assert len(set(numbers.values())) == len(numbers)


def test_columns_and_spellings_do_not_matter() -> None:
    """The same condition in another spelling is the same query."""
    written = parse_expression("a = 1 AND b IN (:p)", {"p": Value("N", Decimal("1.50"))})
    other = parse_expression('( a=1.0 )  and\n"b" in (15e-1)', {})
    assert canonical.encode(written) == canonical.encode(other)


_plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(st.text() | st.integers(), max_size=3),
        st.dictionaries(st.text(), inner, max_size=3),
    ),
    max_leaves=6,
)


def _typed(data: Any) -> Any:
    """Return data in a form that is equal only for equal types, unlike True and 1."""
    match data:
        case tuple():
            return "tuple", [_typed(element) for element in data]
        case frozenset():
            return "set", {(type(element).__name__, element) for element in data}
        case dict():
            return "map", {name: _typed(value) for name, value in data.items()}
    return type(data).__name__, data


@given(_plain, _plain)
def test_equal_data_and_only_equal_data_has_equal_bytes(one: Any, other: Any) -> None:
    """Bytes are equal for equal data in another order, and for no other data."""
    assert (canonical.encode(one) == canonical.encode(other)) is (_typed(one) == _typed(other))


@given(st.dictionaries(st.text(), st.integers()))
def test_the_order_of_a_map_does_not_matter(entries: dict[str, int]) -> None:
    """Maps arrive on the wire in any order."""
    assert canonical.encode(entries) == canonical.encode(dict(reversed(entries.items())))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("ab", "")),
        (("a#b", "c"), ("a", "b#c")),
        ((1,), ("1",)),
        ((True,), (1,)),
        ((None,), ()),
        (Decimal(1), 1),
        (b"a", "a"),
        (And((_SAME, _LESS)), Or((_SAME, _LESS))),
        (ResultProjection(frozenset({"a"})), ResultProjection(frozenset({"a"}), (_A,))),
    ],
)
def test_look_alikes_have_different_bytes(one: Any, other: Any) -> None:
    """Every element includes its type and its length."""
    assert canonical.encode(one) != canonical.encode(other)


@pytest.mark.parametrize("data", [1.5, {1, 2}, object(), (b"", [object])])
def test_data_without_a_canonical_form_is_refused(data: Any) -> None:
    """A fingerprint must not depend on an address or on rounding."""
    with pytest.raises(TypeError, match="no canonical encoding"):
        canonical.encode(data)
