"""Symbolic values, with which a query is planned once for many values of its parameters.

A symbolic value stands for all values of one type. Planning works on symbolic values as on others,
with two functions for everything that depends on their data:

- `decide` calls a check of values, such as whether a text is empty;
- `derive` computes something from values, such as a stored key from the fields of its template.

Both use the values of the query at hand. A trace notes the result of each check as a
guard, and each computation. The resulting plan is right for all values that pass the guards. This
is how tracing compilers specialize a program.

Equality needs neither: the trace notes which of its values are equal, and compares them again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.ast import (
    And,
    Between,
    Comparison,
    Condition,
    Function,
    In,
    Literal,
    Not,
    NotExpired,
    Operand,
    Or,
    Size,
    operands,
)
from dynamodb_processor_server.query.expression.values import Value

_T = TypeVar("_T")


class DataNotKnown(Exception):
    """Code looked at the data of a symbolic value without `decide` or `derive`."""


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """An object that depends on the values of a query: `function(*arguments)`.

    `concrete` is the object for the query at hand. Parameters and constants have no function.
    `is_constant` says that the object is the same for every query.
    """

    trace: Trace
    concrete: Any
    function: Callable[..., Any] | None = None
    arguments: tuple[Any, ...] = ()
    is_constant: bool = False


class SymbolicValue(Value):
    """A value whose type is known and whose data is not.

    It compares and hashes like the value of the query at hand.
    """

    __slots__ = ("symbol",)

    symbol: Symbol

    def __init__(self, symbol: Symbol) -> None:
        object.__setattr__(self, "type", symbol.concrete.type)
        object.__setattr__(self, "symbol", symbol)

    @property
    def data(self) -> NoReturn:
        """Raise DataNotKnown."""
        raise DataNotKnown

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SymbolicValue):  # the trace notes which of its values are equal
            return bool(self.symbol.concrete == other.symbol.concrete)
        if isinstance(other, Value):
            return self.symbol.trace.decide(_equal, (self, other))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.symbol.concrete)

    def __repr__(self) -> str:
        return f"SymbolicValue({self.symbol.concrete!r})"


@dataclass(frozen=True, slots=True)
class Guard:
    """`check(*arguments)` must have this result."""

    check: Callable[..., Any]
    arguments: tuple[Any, ...]
    result: Any


@dataclass(slots=True, eq=False)
class Trace:
    """The symbolic values of one query, with the checks and computations that planning needed."""

    _values: list[SymbolicValue] = field(default_factory=list)
    _derived: dict[Hashable, Any] = field(default_factory=dict)
    _decided: dict[Hashable, Guard] = field(default_factory=dict)

    @property
    def derived(self) -> tuple[object, ...]:
        """Everything that was derived so far."""
        return tuple(self._derived.values())

    def parameter(self, value: Value) -> SymbolicValue:
        """Return a symbolic value for any value of the type of `value`."""
        return self._new_value(Symbol(self, value))

    def constant(self, value: Value) -> SymbolicValue:
        """Return a symbolic value for a value that is the same for every query."""
        return self._new_value(Symbol(self, value, is_constant=True))

    def derive(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Return a symbol, or symbolic value, for `function(*arguments)`."""
        key = function, arguments
        if key not in self._derived:
            concrete = function(*map(_concrete, arguments))
            symbol = Symbol(self, concrete, function, arguments, _are_constant(arguments))
            is_value = isinstance(concrete, Value)
            self._derived[key] = self._new_value(symbol) if is_value else symbol
        return self._derived[key]

    def decide(self, check: Callable[..., _T], arguments: tuple[Any, ...]) -> _T:
        """Return `check(*arguments)`, and note it."""
        key = check, arguments
        guard = self._decided.get(key)
        if guard is None:
            guard = Guard(check, arguments, check(*map(_concrete, arguments)))
            self._decided[key] = guard
        result: _T = guard.result
        return result

    def digest(self, data: object) -> Any:
        """Return a symbol for the canonical digest of data with symbolic values."""
        return Symbol(self, b"", canonical.digest, (data,))

    def guards(self) -> list[Guard]:
        """Return the guards of a plan: the results so far, and which values are equal."""
        decided = [guard for guard in self._decided.values() if not _are_constant(guard.arguments)]
        return [*decided, *self._equalities()]

    def _equalities(self) -> Iterable[Guard]:
        """Yield the guards that the same pairs of values are equal as now, and no others."""
        by_type: dict[str, dict[SymbolicValue, list[SymbolicValue]]] = {}
        for value in self._values:
            by_type.setdefault(value.type, {}).setdefault(value, []).append(value)
        for classes in by_type.values():
            for first, *others in classes.values():
                for other in others:
                    if _are_constant((first, other)):
                        continue
                    yield Guard(_equal, (first, other), True)
            different = tuple(first for first, *_ in classes.values())
            if len(different) > 1 and not _are_constant(different):
                yield Guard(_are_distinct, different, True)

    def _new_value(self, symbol: Symbol) -> SymbolicValue:
        value = SymbolicValue(symbol)
        self._values.append(value)
        return value


def decide(check: Callable[..., _T], *arguments: Any) -> _T:
    """Return `check(*arguments)`; with symbolic values, the result becomes a guard of the plan.

    The check is a pure function of values and other data. Its arguments can be compared and hashed,
    and its result can be compared.
    """
    trace = _trace_of(arguments)
    return check(*arguments) if trace is None else trace.decide(check, arguments)


def derive(function: Callable[..., _T], *arguments: Any) -> _T:
    """Return `function(*arguments)`; with symbolic values, a symbolic value or another symbol.

    The function is pure. It may raise ValueError, with which planning then fails. If it returns a
    value, the value's type depends on types alone.
    """
    trace = _trace_of(arguments)
    if trace is None:
        return function(*arguments)
    derived: _T = trace.derive(function, arguments)
    return derived


def symbol_of(data: object) -> Symbol | None:
    """Return the symbol that data is, or None."""
    if isinstance(data, SymbolicValue):
        return data.symbol
    return data if isinstance(data, Symbol) else None


def with_constants(condition: Condition, trace: Trace) -> Condition:
    """Return a condition whose literals are symbolic too, as constants of the trace."""
    match condition:
        case And(terms):
            return And(tuple(with_constants(term, trace) for term in terms))
        case Or(terms):
            return Or(tuple(with_constants(term, trace) for term in terms))
        case Not(term):
            return Not(with_constants(term, trace))
        case NotExpired():
            return condition
    changed = [_as_constant(operand, trace) for operand in operands(condition)]
    return _with_operands(condition, changed)


def _as_constant(operand: Operand, trace: Trace) -> Any:
    match operand:
        case Literal(value, column) if not isinstance(value, SymbolicValue):
            return Literal(trace.constant(value), column)
        case Size(Literal() as literal, column):
            return Size(_as_constant(literal, trace), column)
    return operand


def _with_operands(
    leaf: Comparison | Between | In | Function, changed: Sequence[Operand]
) -> Comparison | Between | In | Function:
    """Return a leaf with other operands, in the order of `operands`."""
    first, *others = changed
    match leaf:
        case Comparison():
            return replace(leaf, left=first, right=others[0])
        case Between():
            return replace(leaf, operand=first, low=others[0], high=others[1])
        case In():
            return replace(leaf, operand=first, options=tuple(others))
        case Function():
            return replace(leaf, path=first, argument=others[0] if others else None)


def _trace_of(arguments: tuple[Any, ...]) -> Trace | None:
    """Return the trace of the first symbol among the arguments and in tuples among them."""
    found: Trace | None = None
    for argument in arguments:
        kind = type(argument)
        if kind is SymbolicValue:
            found = argument.symbol.trace
        elif kind is Symbol:
            found = argument.trace
        elif kind is tuple:
            found = _trace_of(argument)
        if found is not None:
            break
    return found


def _concrete(argument: Any) -> Any:
    """Return an argument with the values of the query at hand in place of symbols."""
    symbol = symbol_of(argument)
    if symbol is not None:
        return symbol.concrete
    return tuple(map(_concrete, argument)) if type(argument) is tuple else argument


def _are_constant(arguments: Iterable[Any]) -> bool:
    for argument in arguments:
        symbol = symbol_of(argument)
        if symbol is not None and not symbol.is_constant:
            return False
        if type(argument) is tuple and not _are_constant(argument):
            return False
    return True


def _equal(value: Value, other: Value) -> bool:
    return value == other


def _are_distinct(*values: Value) -> bool:
    return len(set(values)) == len(values)
