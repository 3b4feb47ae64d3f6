"""Programs that make an object anew, with other values in place of its symbols.

A program is a list of steps without branches. Each makes one object of objects made before: a part
of the result, a derived value, or a piece of a canonical encoding. Parts without a symbol are made
once, when the program is built.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import MappingProxyType
from typing import Any, TypeAlias

from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.symbolic import (
    Symbol,
    SymbolicValue,
    derive,
    symbol_of,
)
from dynamodb_processor_server.query.expression.values import Value, to_wire

#: The objects of a run so far: constants, inputs, and the result of each step.
Registers: TypeAlias = list[Any]


@dataclass(frozen=True, slots=True)
class Register:
    """An object that differs between runs, by its number from the first input."""

    number: int


@dataclass(frozen=True, slots=True)
class Constant:
    """An object that is the same in each run."""

    data: Any


Operand: TypeAlias = Register | Constant


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a function with some operands."""

    function: Callable[..., Any]
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A step of a finished program: `arguments` takes its arguments from the registers."""

    function: Callable[..., Any]
    arguments: Callable[[Registers], Sequence[Any]]

    def result(self, registers: Registers) -> Any:
        """Return the function's result."""
        return self.function(*self.arguments(registers))


def calls_of(steps: Sequence[Step]) -> tuple[Registers, list[Call]]:
    """Return the constants that steps need, and their calls.

    The registers begin with these constants, and the inputs come next.
    """
    constants = {
        id(operand.data): operand.data
        for step in steps
        for operand in step.operands
        if isinstance(operand, Constant)
    }
    numbers = {identity: number for number, identity in enumerate(constants)}

    def index(operand: Operand) -> int:
        if isinstance(operand, Constant):
            return numbers[id(operand.data)]
        return len(numbers) + operand.number

    return list(constants.values()), [
        Call(step.function, _taker(list(map(index, step.operands)))) for step in steps
    ]


def run(calls: Iterable[Call], registers: Registers) -> None:
    """Append the result of each call."""
    append = registers.append
    for call in calls:
        append(call.function(*call.arguments(registers)))


def _taker(indexes: list[int]) -> Callable[[Registers], Sequence[Any]]:
    """Return a function that takes some registers."""
    if len(indexes) == 1:
        only = indexes[0]
        return lambda registers: (registers[only],)
    return itemgetter(*indexes)


class ProgramBuilder:
    """Builds the steps that make objects of symbols; `inputs` are there before the first step.

    Collections and objects of the types `parts` are searched for symbols, other objects are not.
    `replaced` has pairs of an object and the one that replaces it.
    """

    def __init__(
        self,
        inputs: Sequence[SymbolicValue],
        parts: frozenset[type],
        replaced: Iterable[tuple[object, object]] = (),
    ) -> None:
        self._inputs = len(inputs)
        self._parts = parts
        self.steps: list[Step] = []
        # By identity, beside the object, so that no other one gets its `id`.
        self._known: dict[int, tuple[object, Operand]] = {
            id(one.symbol): (one.symbol, Register(number)) for number, one in enumerate(inputs)
        }
        self._known |= {id(one): (one, Constant(other)) for one, other in replaced}

    def add(self, data: Any) -> Operand:
        """Return an object as an operand, after adding the steps that make it."""
        symbol = symbol_of(data)
        target = data if symbol is None else symbol
        known = self._known.get(id(target))
        if known is None:
            operand = self._add_parts(data) if symbol is None else self._add_symbol(symbol)
            known = self._known[id(target)] = target, operand
        return known[1]

    def step(self, function: Callable[..., Any], arguments: Iterable[Any]) -> Step:
        """Return a step that is not added, after adding those that make its arguments."""
        return Step(function, tuple(map(self.add, arguments)))

    def _add_symbol(self, symbol: Symbol) -> Operand:
        if symbol.function is canonical.digest:
            outline = canonical.outline(symbol.arguments[0], _is_symbolic)
            return self._step(_sha256, (self._add_outline(outline),))
        if symbol.is_constant or symbol.function is None:
            return Constant(symbol.concrete)
        return self._step(symbol.function, tuple(map(self.add, symbol.arguments)))

    def _add_outline(self, outline: object) -> Operand:
        """Return a canonical encoding as an operand."""
        if isinstance(outline, bytes):
            return Constant(outline)
        if isinstance(outline, canonical.Frame):
            return self._step(outline.encoding, tuple(map(self._add_outline, outline.parts)))
        whole = _with_data_apart(outline)
        if whole is not None:
            return self._add_outline(canonical.outline(whole, _is_symbolic))
        return self.add(derive(canonical.encode, outline))

    def _add_parts(self, data: Any) -> Operand:
        """Return an object that is no symbol as an operand."""
        kind = type(data)
        make: Callable[..., Any]
        parts: Iterable[Any]
        if kind is tuple:
            make, parts = _tuple_of, data
        elif kind is frozenset:
            make, parts = _frozenset_of, data
        elif kind is dict:
            make, parts = _DictOf(tuple(data)), data.values()
        elif kind is MappingProxyType:
            make, parts = MappingProxyType, (dict(data),)
        elif kind in self._parts:
            names = [field.name for field in dataclasses.fields(data) if field.init]
            make, parts = kind, [getattr(data, name) for name in names]
        else:
            return Constant(data)
        parts = tuple(parts)
        operands = tuple(map(self.add, parts))
        if all(map(_is_constantly, operands, parts)):
            return Constant(data)
        return self._step(make, operands)

    def _step(self, make: Callable[..., Any], operands: tuple[Operand, ...]) -> Operand:
        constants = [operand.data for operand in operands if isinstance(operand, Constant)]
        if len(constants) == len(operands):
            return Constant(make(*constants))
        self.steps.append(Step(make, operands))
        return Register(self._inputs + len(self.steps) - 1)


def _is_constantly(operand: Operand, data: object) -> bool:
    return isinstance(operand, Constant) and operand.data is data


class _DictOf:
    """Makes dictionaries with the same keys."""

    __slots__ = ("_keys",)

    def __init__(self, keys: tuple[Any, ...]) -> None:
        self._keys = keys

    def __call__(self, *values: Any) -> dict[Any, Any]:
        return dict(zip(self._keys, values, strict=True))


def _tuple_of(*parts: Any) -> tuple[Any, ...]:
    return parts


def _frozenset_of(*parts: Any) -> frozenset[Any]:
    return frozenset(parts)


def _with_data_apart(data: object) -> object:
    """Return a symbolic value, or the wire form of one, as an object with a symbol for its data.

    The encoding of the data, which is the same in both, is then made once.
    """
    match data:
        case SymbolicValue():
            return Value(data.type, derive(_data_of, data))
        case Symbol(function=function, arguments=(SymbolicValue(type="S" | "B") as value,)):
            return {value.type: derive(_data_of, value)} if function is to_wire else None
    return None


def _data_of(value: Value) -> Any:
    return value.data


def _sha256(encoded: bytes) -> bytes:
    return hashlib.sha256(encoded).digest()


def _is_symbolic(data: object) -> bool:
    return symbol_of(data) is not None
