"""Formatted conditions parse to the same conditions, for any original spelling."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Final

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from dynamodb_processor_server.query.expression.ast import (
    And,
    Between,
    Comparison,
    Condition,
    Function,
    In,
    Literal,
    Not,
    Operand,
    Or,
    Path,
    Size,
)
from dynamodb_processor_server.query.expression.formatter import ExpressionFormatter
from dynamodb_processor_server.query.expression.parser import (
    MAX_BYTES,
    ExpressionError,
    parse_expression,
    parse_path,
)
from dynamodb_processor_server.query.expression.values import (
    Value,
    from_wire,
    number_text,
    parse_number,
)
from tests.support.expressions import conditions

_KEYWORDS: Final = (
    "and",
    "Or",
    "NOT",
    "in",
    "BETWEEN",
    "true",
    "False",
    "null",
    "size",
    "contains",
)
_NAMES: Final = st.one_of(
    st.sampled_from(("a", "b_1", "_", *_KEYWORDS, "x.y", "a[0]", 'quo"ted', "größe", "'", ":p")),
    st.text(min_size=1, max_size=5),
)
_PATHS: Final = st.builds(
    lambda name, inner: Path((name, *inner)),
    _NAMES,
    st.lists(st.one_of(_NAMES, st.integers(0, 999_999_999)), max_size=3),
)
_NUMBERS: Final = st.builds(
    lambda digits, exponent: parse_number(f"{digits}E{exponent}"),
    st.integers(-(10**38) + 1, 10**38 - 1),
    st.integers(-130, 87),
)
_SCALARS: Final = st.one_of(
    st.one_of(st.text(max_size=8), st.sampled_from(("'", "''", "o'clock", '"'))).map(
        lambda text: Value("S", text)
    ),
    _NUMBERS.map(lambda number: Value("N", number)),
    st.integers(-9, 99).map(lambda number: Value("N", Decimal(number))),
    st.booleans().map(lambda truth: Value("BOOL", truth)),
    st.just(Value("NULL", None)),
    st.binary(max_size=3).map(lambda data: Value("B", data)),
)
_SETS: Final = st.one_of(
    st.frozensets(st.text(max_size=3), min_size=1).map(lambda data: Value("SS", data)),
    st.frozensets(_NUMBERS, min_size=1, max_size=3).map(lambda data: Value("NS", data)),
    st.frozensets(st.binary(max_size=2), min_size=1).map(lambda data: Value("BS", data)),
)
_VALUES: Final = st.recursive(
    st.one_of(_SCALARS, _SCALARS, _SETS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda members: Value("L", tuple(members))),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(
            lambda members: Value("M", tuple(sorted(members.items(), key=lambda pair: pair[0])))
        ),
    ),
    max_leaves=3,
)
_CONDITIONS: Final = conditions(_PATHS, lambda path: _VALUES)


def parse_generated(text: str, parameters: dict[str, Value]) -> Condition:
    """Parse a generated text; one that is too long or breaks a static rule is skipped."""
    assume(len(text.encode()) <= MAX_BYTES)
    try:
        return parse_expression(text, parameters)
    except ExpressionError as error:
        # The generator knows no static rule; any other error would be the formatter's.
        assume(not any(words in str(error) for words in _STATIC_RULES))
        raise


_STATIC_RULES: Final = (
    "compares values only",
    "compares an attribute with itself",
    "needs a string",
    "BETWEEN needs two ends of one type",
    "attribute_type needs",
    "has no size",
)


@settings(max_examples=2 * settings().max_examples)
@given(_CONDITIONS)
def test_a_formatted_condition_parses_to_itself(condition: Condition) -> None:
    """Formatting the parsed condition again gives the same text."""
    printer = ExpressionFormatter()
    text = printer.condition(condition)
    again = parse_generated(text, printer.parameters)
    assert again == condition
    reprinter = ExpressionFormatter()
    assert reprinter.condition(again) == text
    assert reprinter.parameters == printer.parameters
    event(type(condition).__name__)


@settings(max_examples=2 * settings().max_examples)
@given(_CONDITIONS, st.randoms(use_true_random=False))
def test_any_spelling_parses_to_the_same_condition(condition: Condition, random: Random) -> None:
    """Spaces, keywords in any case, needless quotes and parentheses, and numbers may vary."""
    writer = _OddSpelling(random)
    text = writer.condition(condition)
    read_back = parse_generated(text, writer.parameters)
    assert read_back == condition
    printer = ExpressionFormatter()
    assert parse_generated(printer.condition(read_back), printer.parameters) == condition


@given(_PATHS)
def test_a_formatted_path_parses_to_itself(path: Path) -> None:
    """Document paths alone are parsed too, as projections have them."""
    assert parse_path(str(path)) == path


class _OddSpelling:
    """Writes conditions in unusual spellings that the grammar allows."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.parameters: dict[str, Value] = {}

    def condition(self, condition: Condition) -> str:
        match condition:
            case And(terms):
                return self._join("and", [self._term(term, And, Or) for term in terms])
            case Or(terms):
                return self._join("or", [self._term(term, Or) for term in terms])
            case Not(term):
                return self._words("not", self._term(term, And, Or))
            case Comparison(operator, left, right):
                return self._words(self.operand(left), operator, self.operand(right))
            case Between(operand, low, high):
                ends = self._join("and", [self.operand(low), self.operand(high)])
                return self._words(self.operand(operand), "between", ends)
            case In(operand, options):
                listed = self._space().join(["(", ",".join(map(self.operand, options)), ")"])
                return self._words(self.operand(operand), "in", listed)
            case Function(name, first, argument):
                more = () if argument is None else (",", self.operand(argument))
                return self._space().join((name, "(", self.operand(first), *more, ")"))
        raise AssertionError("the language cannot say this")

    def _term(self, term: Condition, *wrapped: type) -> str:
        text = self.condition(term)
        for _ in range(isinstance(term, wrapped) + self._chance(0.2)):
            text = f"({self._space()}{text}{self._space()})"
        return text

    def operand(self, operand: Operand) -> str:
        match operand:
            case Path():
                return self._path(operand)
            case Size(subject):
                return self._space().join(("size", "(", self.operand(subject), ")"))
            case Literal(value):
                return self._value(value)

    def _path(self, path: Path) -> str:
        steps = (f"[{part}]" if isinstance(part, int) else f".{self._name(part)}"
                 for part in path.parts[1:])  # fmt: skip
        return self._space().join((self._name(path.attribute), *steps))

    def _name(self, name: str) -> str:
        plain = str(Path((name,)))
        return '"' + name.replace('"', '""') + '"' if self._chance(0.3) else plain

    def _value(self, value: Value) -> str:
        write = _LITERALS.get(value.type)
        if write is None or self._chance(0.3):
            known = [name for name, given in self.parameters.items() if given == value]
            name = known[0] if known else f"p_{len(self.parameters)}"
            self.parameters[name] = value
            return f":{name}"
        text = write(value)
        if value.type in ("BOOL", "NULL"):
            return self._keyword(text)
        if value.type == "N" and self._chance(0.5):
            return f"{value.data:+E}"
        return text

    def _join(self, word: str, texts: list[str]) -> str:
        return f" {self._keyword(word)} ".join(texts)

    def _words(self, *words: str) -> str:
        return f" {self._space()}".join(map(self._keyword_of, words))

    def _keyword_of(self, word: str) -> str:
        return self._keyword(word) if word in ("not", "between", "in") else word

    def _keyword(self, word: str) -> str:
        return "".join(self._random.choice((letter, letter.upper())) for letter in word)

    def _space(self) -> str:
        return self._random.choice(("", "", " ", "\n\t "))

    def _chance(self, share: float) -> bool:
        return self._random.random() < share


_LITERALS: Final[dict[str, Callable[[Value], str]]] = {
    "S": lambda value: "'" + value.data.replace("'", "''") + "'",
    "N": lambda value: number_text(value.data),
    "BOOL": lambda value: str(value.data).lower(),
    "NULL": lambda _: "null",
}


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("(((a=1)))", "a = 1"),
        ("a = 1 and (b = 2 and c = 3)", "a = 1 AND (b = 2 AND c = 3)"),
        ("(a = 1 and b = 2) or c = 3", "a = 1 AND b = 2 OR c = 3"),
        ("a = 1 and (b = 2 or c = 3)", "a = 1 AND (b = 2 OR c = 3)"),
        ("not (a = 1)", "NOT a = 1"),
        ("not (a = 1 or b = 2)", "NOT (a = 1 OR b = 2)"),
        ("not not a = 1", "NOT NOT a = 1"),
        ("1 between a and b", "1 BETWEEN a AND b"),
        ("a in (1,b,size(c))", "a IN (1, b, size(c))"),
        ("contains(\"a b\".\"and\"[0], 'it''s')", "contains(\"a b\".\"and\"[0], 'it''s')"),
        ("attribute_exists(a) or contains(a,'S')", "attribute_exists(a) OR contains(a, 'S')"),
        ("a = TRUE or a = False or a = nUlL", "a = true OR a = false OR a = null"),
        ("a = +1.50e1 or a = -0.0", "a = 15 OR a = 0"),
        ('"""" = \'\'', '"""" = \'\''),
    ],
)  # fmt: skip
def test_the_canonical_spelling(text: str, printed: str) -> None:
    """It has few parentheses, keywords in capitals, single spaces and numbers in canonical form."""
    assert ExpressionFormatter().condition(parse_expression(text, {})) == printed


def test_values_without_a_literal_become_parameters() -> None:
    """Each gets a name of its own, in the order of the text."""
    given_values = {
        "x": from_wire({"B": b"\x00"}),
        "y": from_wire({"SS": ["a"]}),
        "z": from_wire({"L": []}),
    }
    printer = ExpressionFormatter()
    text = printer.condition(parse_expression("a = :z OR b IN (:x, 'x', :y)", given_values))
    assert text == "a = :v1 OR b IN (:v2, 'x', :v3)"
    assert printer.parameters == {
        "v1": given_values["z"], "v2": given_values["x"], "v3": given_values["y"],
    }  # fmt: skip
