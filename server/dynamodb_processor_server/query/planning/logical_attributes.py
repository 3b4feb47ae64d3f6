"""Translates conditions on logical attributes to conditions on expanded items.

Times are converted to the stored form of their attribute. Fields of key templates stay as they are:
the service evaluates them on expanded items, and `key_templates.py` derives conditions on keys.
"""

from __future__ import annotations

from typing import Final, assert_never

from dynamodb_processor_server.catalog.logical_view import LogicalView
from dynamodb_processor_server.catalog.timestamps import TimestampForm, parse_instant
from dynamodb_processor_server.query.expression.ast import (
    MIRRORED,
    And,
    Between,
    Comparison,
    ComparisonOperator,
    Condition,
    Function,
    In,
    Literal,
    Not,
    NotExpired,
    Operand,
    Or,
    Path,
    Size,
    compared_pairs,
    conjunction,
    operands,
    paths,
)
from dynamodb_processor_server.query.expression.symbolic import decide, derive
from dynamodb_processor_server.query.expression.validation import ExpressionError
from dynamodb_processor_server.query.expression.values import TYPE_NAMES, Value
from dynamodb_processor_server.query.planning.key_templates import rejection_reason

# The operator that is equivalent for a time between two storable ones, rounded down.
_ROUNDED: Final[dict[ComparisonOperator, ComparisonOperator]] = {
    "<": "<=", "<=": "<=", ">": ">", ">=": ">",
}  # fmt: skip


def stored_condition(condition: Condition | None, view: LogicalView) -> Condition | None:
    """Return a condition on logical attributes as one on expanded items.

    It also excludes items whose time to live has passed. Raises ExpressionError for an operation
    that a timestamp or a field of a key does not allow.
    """
    if view.is_identity:
        return condition
    stored = () if condition is None else (_Translator(view).condition(condition),)
    return conjunction((*stored, *implicit_conditions(view)))


def implicit_conditions(view: LogicalView) -> tuple[Condition, ...]:
    """Return the conditions that hold for every query: that the item's time has not passed."""
    return () if view.time_to_live is None else (NotExpired(view.time_to_live),)


class _Translator:
    def __init__(self, view: LogicalView) -> None:
        self._view = view

    def condition(self, condition: Condition) -> Condition:
        match condition:
            case And(terms):
                return And(tuple(map(self.condition, terms)))
            case Or(terms):
                return Or(tuple(map(self.condition, terms)))
            case Not(term):
                return Not(self.condition(term))
            case NotExpired():
                return condition
        self._check_fields(condition)
        for path in paths(condition):
            form = self._view.timestamps.get(path.attribute)
            if form is not None:
                return _stored_leaf(condition, path, form, self._view)
        return condition

    def _check_fields(self, leaf: Comparison | Between | In | Function) -> None:
        """Raise ExpressionError if a field of a key is compared with a value it cannot have."""
        fields = [path for path in paths(leaf) if self._view.is_field(path.attribute)]
        if isinstance(leaf, Function) and leaf.name == "attribute_type":
            return
        listed = isinstance(leaf, Function) and leaf.name == "contains" and leaf.path not in fields
        for path in fields:
            if len(path.parts) > 1:
                raise ExpressionError(f"{path.attribute} has no members", path.column)
        for path, literal in compared_pairs(leaf):
            if listed or not self._view.is_field(path.attribute):
                continue
            if literal.value.type != "S":
                raise ExpressionError(
                    f"{path.attribute} is a string, not a {TYPE_NAMES[literal.value.type]}",
                    literal.column,
                )
            if path.attribute not in self._view.timestamps and _is_equality(leaf):
                self._check_value(path.attribute, literal)

    def _check_value(self, name: str, literal: Literal) -> None:
        for template in self._view.templates:
            for field in template.fields:
                if field.name == name:
                    reason = rejection_reason(template, field, literal.value)
                    if reason is not None:
                        raise ExpressionError(f"{name} {reason}", literal.column)


def _is_equality(leaf: Comparison | Between | In | Function) -> bool:
    return isinstance(leaf, In) or (isinstance(leaf, Comparison) and leaf.operator == "=")


def _stored_leaf(
    leaf: Comparison | Between | In | Function, path: Path, form: TimestampForm, view: LogicalView
) -> Condition:
    """Return a leaf with a timestamp, with the literals that it is compared with in stored form."""
    _check_timestamp(leaf, path, form, view)
    match leaf:
        case Comparison(operator, Path(), Literal() as literal):
            return _comparison(operator, path, literal, form)
        case Comparison(operator, Literal() as literal, Path()):
            return _comparison(MIRRORED[operator], path, literal, form)
        case Between(Path(), low, high) if isinstance(low, Literal) or isinstance(high, Literal):
            return And((_bound(">=", path, low, form), _bound("<=", path, high, form)))
        case Between(Literal() as literal, low, high):
            above = _end("<=", low, literal, path, form)
            return And((above, _end(">=", high, literal, path, form)))
        case In(Path() as subject, options) if any(isinstance(o, Literal) for o in options):
            return _choice(subject, options, form)
        case In(Literal() as literal, options):
            equals = tuple(_end("=", option, literal, path, form) for option in options)
            return Or(equals) if len(equals) > 1 else equals[0]
        case Comparison() | Between() | In() | Function():
            return leaf
    assert_never(leaf)


def _bound(
    operator: ComparisonOperator, subject: Operand, end: Operand, form: TimestampForm
) -> Condition:
    """Return `subject operator end`; `end` is a literal if either is."""
    if isinstance(end, Literal):
        return _comparison(operator, subject, end, form)
    return Comparison(operator, subject, end)


def _end(
    operator: ComparisonOperator, end: Operand, literal: Literal, path: Path, form: TimestampForm
) -> Condition:
    """Return `end operator literal`; of two literals it always holds, for any `path`, or never."""
    if not isinstance(end, Literal):
        return _comparison(operator, end, literal, form)
    holds = decide(_holds, operator, _instant(end), _instant(literal))
    constant = (Function("attribute_exists", path), Function("attribute_not_exists", path))
    return Or(constant) if holds else And(constant)


def _holds(operator: ComparisonOperator, one: int, other: int) -> bool:
    return {"=": one == other, "<=": one <= other, ">=": one >= other}[operator]


def _comparison(
    operator: ComparisonOperator, subject: Operand, literal: Literal, form: TimestampForm
) -> Condition:
    stored, exact = _stored(literal, form)
    if exact:
        return Comparison(operator, subject, stored)
    if operator in _ROUNDED:
        return Comparison(_ROUNDED[operator], subject, stored)
    if operator == "=":  # no stored time lies between two storable ones
        return And((Comparison("<", subject, stored), Comparison(">", subject, stored)))
    assert isinstance(subject, Path)
    return Or((Function("attribute_exists", subject), Function("attribute_not_exists", subject)))


def _choice(path: Path, options: tuple[Operand, ...], form: TimestampForm) -> Condition:
    possible: list[Operand] = []
    for option in options:
        if isinstance(option, Literal):
            stored, exact = _stored(option, form)
            possible += [stored] if exact else []
        else:
            possible.append(option)
    if possible:
        return In(path, tuple(possible))
    first = options[0]
    assert isinstance(first, Literal)
    return _comparison("=", path, first, form)


def _stored(literal: Literal, form: TimestampForm) -> tuple[Literal, bool]:
    """Return the stored form of a time, and whether it represents the time exactly."""
    instant = _instant(literal)
    is_exact = not form.is_text or decide(_is_exact, form, instant)
    return Literal(derive(_stored_value, form, instant), literal.column), is_exact


def _stored_value(form: TimestampForm, instant: int) -> Value:
    return Value(form.type, form.to_stored(instant)[0])


def _is_exact(form: TimestampForm, instant: int) -> bool:
    return form.to_stored(instant)[1]


def _instant(literal: Literal) -> int:
    try:
        if literal.value.type != "S":
            raise ValueError("is no RFC 3339 time, such as '2026-01-31T08:00:00Z'")
        return derive(_parsed_instant, literal.value)
    except ValueError as error:
        raise ExpressionError(f"compares a timestamp with what {error}", literal.column) from None


def _parsed_instant(value: Value) -> int:
    return parse_instant(value.data)


def _check_timestamp(
    leaf: Comparison | Between | In | Function, path: Path, form: TimestampForm, view: LogicalView
) -> None:
    if len(path.parts) > 1:
        raise ExpressionError(f"{path.attribute} is a timestamp, has no members", path.column)
    if isinstance(leaf, Function):
        _check_function(leaf, path, form)
        return
    for operand in operands(leaf):
        match operand:
            case Size():
                raise ExpressionError("size is not for timestamps", operand.column)
            case Path() if view.timestamps.get(operand.attribute) != form:
                raise ExpressionError(
                    f"{path.attribute} and {operand} do not store times alike", operand.column
                )


def _check_function(leaf: Function, path: Path, form: TimestampForm) -> None:
    if leaf.argument is None or (leaf.path != path and isinstance(leaf.path, Path)):
        return
    if leaf.name == "begins_with" and form.is_text and leaf.path == path:
        return
    raise ExpressionError(
        f"{leaf.name} is not for timestamps; compare {path.attribute} with =, <, BETWEEN or IN",
        leaf.column,
    )
