"""Tests of the names and values on the command line of `ddbq`."""

from __future__ import annotations

import argparse
from decimal import Decimal
from typing import Any

import pytest

from dynamodb_processor.v1.value_pb2 import AttributeValue
from dynamodb_processor_client.assignments import attribute, parameter
from tests.support.fake_service import FakeService
from tests.unit.client.commands import Run


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("GI-1-PK=a", "GI-1-PK", "a"),
        ("sort.key=a=b", "sort.key", "a=b"),
        ("g:pk=a", "g:pk", "a"),
        ("g:pk:=5", "g:pk", Decimal(5)),
        ("a b=c", "a b", "c"),
        ('"a=b"=c', "a=b", "c"),
        ('"a:"=c', "a:", "c"),
        ('"a""b"=c', 'a"b', "c"),
        ("ü[0]=c", "ü[0]", "c"),
        ("a=", "a", ""),
        ("a=:=1", "a", ":=1"),
        ('a::={"S": "x"}', "a", "x"),
        ('a::={"N": "1.50"}', "a", Decimal("1.50")),
        ('a::={"B": "AP8="}', "a", b"\x00\xff"),
        ('a::={"BOOL": false}', "a", False),
        ('a::={"NULL": true}', "a", None),
        ('a::={"SS": ["x", "y"]}', "a", {"x", "y"}),
        ('a::={"NS": ["1", "2"]}', "a", {Decimal(1), Decimal(2)}),
        ('a::={"BS": ["AA=="]}', "a", {b"\x00"}),
        ('a::={"L": [{"S": "x"}, {"M": {"b": {"N": "1"}}}]}', "a", ["x", {"b": Decimal(1)}]),
    ],
)
def test_any_name_and_any_value_can_be_given(argument: str, name: str, value: Any) -> None:
    """An attribute can have every name and every type of value that DynamoDB allows."""
    assert attribute(argument) == (name, value)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("novalue", "name=text"),
        ("=x", "name=text"),
        ("a:=UA", "not JSON.*NAME=TEXT gives text"),
        ("a:=1_000", "not JSON"),
        ("a:=Infinity", "no Infinity"),
        ("a:=1E999999999999999999999", "no number"),
        ('a:={"b": 1, "b": 2}', "b is given twice"),
        ("a:=" + "[" * 100_000, "nested too deeply"),
        ('a::={"N": "1_000"}', "not a number"),
        ('a::={"N": "NaN"}', "not a number"),
        ('a::={"N": 1}', "not a string"),
        ('a::={"B": "!"}', "not base64"),
        ('a::={"SS": ["x", "x"]}', "given twice"),
        ('a::={"SS": []}', "empty"),
        ('a::={"NULL": false}', "NULL"),
        ('a::={"X": 1}', "no type X"),
        ("a::=1", "as {"),
        ("a=\udcff", "not UTF-8"),
    ],
)
def test_invalid_values_are_refused(argument: str, words: str) -> None:
    """A sentence names the error in the argument."""
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        attribute(argument)


def test_a_colon_before_a_parameter_is_refused() -> None:
    """Parameters are given without the colon that they have in the expression."""
    with pytest.raises(argparse.ArgumentTypeError, match="without the colon: 'c=UA'"):
        parameter(":c=UA")
    assert parameter("c=UA") == ("c", "UA")
    with pytest.raises(argparse.ArgumentTypeError, match="letters, digits"):
        parameter("a-b=c")


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "numbers", "a = :a", "-p", "a=1", "-p", "a=2"),
        ("get", "numbers", "--key", "n:=1", "n:=2"),
        ("cache", "invalidate", "numbers", "n=1", "n=2"),
    ],
)
async def test_a_name_given_twice_is_an_error(
    run: Run, service: FakeService, arguments: tuple[str, ...]
) -> None:
    """Neither value wins silently, and nothing is sent."""
    outcome = await run(*arguments)
    assert outcome.status == 2
    assert "is given twice" in outcome.errors
    assert not service.metadata


async def test_such_names_and_values_are_sent(run: Run, service: FakeService) -> None:
    """The keys of gets and invalidations arrive unchanged."""
    got = await run("get", "numbers", "--key", "GI-1-PK=a", 'sort.key::={"B": "AP8="}')
    assert got.status == 1  # there is no such item
    (request,) = service.batch_requests
    assert request.keys[0].attributes["GI-1-PK"] == AttributeValue(s="a")
    assert request.keys[0].attributes["sort.key"] == AttributeValue(b=b"\x00\xff")
    assert (await run("cache", "invalidate", "numbers", "g:pk=a")).status == 0
    (invalidated,) = service.invalidations
    assert invalidated.partition_key.attributes["g:pk"] == AttributeValue(s="a")


async def test_missing_items_have_their_own_exit_status(run: Run) -> None:
    """A script detects a missing item without reading the output."""
    assert (await run("get", "numbers", "--key", "n:=7")).status == 0
    outcome = await run("get", "numbers", "--key", "n:=7", "--key", "n:=5000", "-v")
    assert outcome.status == 1
    assert outcome.lines == [{"n": 7}, None]
    assert 'no item: {"n": 5000}' in outcome.errors
