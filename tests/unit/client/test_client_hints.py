"""Tests of the hints of `ddbq` on results that may not be the intended ones."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest

from dynamodb_processor.v1 import catalog_service_pb2
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client.comparisons import comparisons, names
from tests.support.fake_service import Failure, FakeService
from tests.unit.client.commands import Run, run_on_terminal


@pytest.fixture
def flights(service: FakeService) -> FakeService:
    """The service, with a table of flights: a composed key, an index, a number and a text."""
    table = service.table.table
    table.name = "flights"
    table.key.partition.add(name="carrier", type=catalog_service_pb2.KEY_TYPE_STRING)
    table.key.sort.add(template="{departure}#{flight}")
    index = table.indexes.add(name="by_aircraft", projects_all=True)
    index.key.partition.add(name="tailnum", type=catalog_service_pb2.KEY_TYPE_STRING)
    service.tables.tables.add(name="flights")
    service.tables.tables.add(name="audit_events")
    attributes = {"distance": AttributeValue(n="2475"), "carrier": AttributeValue(s="UA")}
    attributes["zip"] = AttributeValue(s="02134")
    service.items = [Item(attributes=attributes)]
    return service


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (
            ("distance <> :d", "-p", "d=2000"),
            (
                "warning: distance is a number in these items and is compared with text: "
                "use -p d:=2000"
            ),
        ),
        (
            ("distance <> '2000'",),
            (
                "warning: distance is a number in these items and is compared with text; "
                "write 2000 without quotes"
            ),
        ),
        (
            ("zip <> :z", "-p", "z:=2134"),
            "warning: zip is text in these items and is compared with a number: use -p z=2134",
        ),
        (("carrier IN (:a, 'UA') AND NOT zip = 5", "-p", "a=x"), "write '5'"),
        (("distance > :d", "-p", "d:=2000"), ""),
        (("carrier <> :c", "-p", "c:=null"), ""),
        (("size(carrier) > 1 AND contains(carrier, 'U')",), ""),
    ],
)
async def test_another_type_is_warned_of(
    run: Run, flights: FakeService, arguments: tuple[str, ...], hint: str
) -> None:
    """A filter that compares an attribute with another type than the page has gets a warning."""
    for command in ("query", "stream"):
        outcome = await run(command, "flights", *arguments)
        assert outcome.status == 0
        assert len(outcome.lines) == 1
        assert hint in outcome.errors
        assert bool(hint) == bool(outcome.errors)


async def test_numbers_sent_as_text_get_a_hint_on_an_empty_result(
    run: Run, flights: FakeService
) -> None:
    """Without items there is nothing to compare with, except a number that was sent as text."""
    flights.items = []
    for command in ("query", "stream", "count"):
        outcome = await run(command, "flights", "distance > :d", "-p", "d=2000")
        assert "distance was compared with the text '2000'" in outcome.errors
        assert "use -p d:=2000" in outcome.errors
        assert (await run(command, "flights", "distance > :d", "-p", "d:=2000")).errors == ""


REFUSED = Failure(grpc.StatusCode.FAILED_PRECONDITION, "this needs a scan")


async def test_a_bare_word_hints_at_quotes(run: Run, flights: FakeService) -> None:
    """`carrier = UA` compares two attributes, which is hardly ever meant."""
    flights.failures.append(REFUSED)
    outcome = await run("query", "flights", "carrier = UA")
    assert outcome.status == 1
    assert outcome.errors.splitlines() == [
        "ddbq: FAILED_PRECONDITION: this needs a scan",
        "hint: UA is read as the name of an attribute; text is quoted: 'UA'",
    ]


@pytest.mark.parametrize(
    ("condition", "quoted"),
    [("carrier = UA", "'UA'"), ('carrier = "UA"', "'UA'"), ('carrier = "O\'Hare"', "'O''Hare'")],
)
async def test_a_hint_repeats_nothing_of_the_error(
    run: Run, flights: FakeService, condition: str, quoted: str
) -> None:
    """A name is quoted as a text is, and not again if the service has done so."""
    flights.failures.append(REFUSED)
    outcome = await run("query", "flights", condition)
    assert outcome.errors.endswith(f"text is quoted: {quoted}\n")
    message = f"if the text is meant, write {quoted}; fix carrier"
    flights.failures.append(Failure(grpc.StatusCode.FAILED_PRECONDITION, message))
    outcome = await run("query", "flights", condition)
    assert outcome.errors == f"ddbq: FAILED_PRECONDITION: {message}\n"


async def test_an_unknown_index_gets_a_list_of_indexes(run: Run, flights: FakeService) -> None:
    """If the table does not have the index, the hint lists the table's indexes."""
    field = BadRequest.FieldViolation(field="query.index", description="no such index")
    details = (BadRequest(field_violations=[field]),)
    flights.failures.append(
        Failure(grpc.StatusCode.INVALID_ARGUMENT, "query.index: no such index", details)
    )
    outcome = await run("query", "flights", "carrier = 'UA'", "--index", "by_aircrft")
    assert outcome.errors.endswith("hint: flights can be read by by_aircraft, @table\n")


async def test_a_projection_that_no_item_has(run: Run, flights: FakeService) -> None:
    """A hint names attributes that no item has, and the items are shown nevertheless."""
    arguments = ("query", "flights", "--project", "distance", "--project", "gate")
    outcome = await run(*arguments, "-o", "table")
    assert outcome.errors == "hint: none of these items has gate\n"
    flights.items = [Item()]
    outcome = await run(*arguments, "-o", "table")
    assert outcome.output == "--- 1 ---\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--target", "127.0.0.1:1"), "is the server at 127.0.0.1:1 running? --target and"),
        (("--target", "localhost"), "localhost names no port; servers listen on 50051"),
        (("--tls",), " may speak no TLS: try without --tls"),
    ],
)
async def test_an_unreachable_server(
    run: Run, flights: FakeService, arguments: tuple[str, ...], hint: str
) -> None:
    """The error of gRPC is followed by a hint on the way to reach the server."""
    outcome = await run("query", "flights", *arguments)
    # A server may come; it does not learn TLS.
    assert outcome.status == (1 if "--tls" in arguments else 75)
    assert hint in outcome.errors.splitlines()[-1]


async def test_a_missing_api_key(
    run: Run, flights: FakeService, environment: dict[str, str]
) -> None:
    """Without a key the hint says how to give one; a wrong one gets no such hint."""
    refused = Failure(grpc.StatusCode.UNAUTHENTICATED, "no API key")
    flights.failures.append(refused)
    assert len((await run("query", "flights")).errors.splitlines()) == 1
    del environment["DDBQ_API_KEY"]
    flights.failures.append(refused)
    outcome = await run("query", "flights")
    assert outcome.errors.splitlines()[1:] == [
        "hint: set DDBQ_API_KEY or DDBQ_BEARER_TOKEN, or give --api-key or --bearer-token-file"
    ]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("carier = 'UA'",), "hint: is the attribute carier spelt carrier?"),
        (("departur = 'x'",), "hint: is the attribute departur spelt departure?"),
        (("carrier = 'UA'", "--project", "tailnm"), "hint: is the attribute tailnm spelt tailnum?"),
        (("carrier = 'UA' AND nothing_alike = 1",), ""),
    ],
)
async def test_misspelt_attributes_get_suggestions(
    run: Run, flights: FakeService, arguments: tuple[str, ...], hint: str
) -> None:
    """A refusal is followed by the known attribute with a similar name."""
    flights.failures.append(REFUSED)
    outcome = await run("query", "flights", *arguments)
    assert outcome.errors.splitlines()[1:] == ([hint] if hint else [])


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED])
async def test_misspelt_tables_get_suggestions(
    run: Run, flights: FakeService, code: grpc.StatusCode
) -> None:
    """An unknown table, or one without a grant, may be a misspelt name of another."""
    for arguments in (
        ("query", "fligths"),
        ("tables", "fligths"),
        ("get", "fligths", "--key", "a=1"),
    ):
        flights.failures.append(Failure(code, "no"))
        outcome = await run(*arguments)
        assert outcome.errors.splitlines()[1:] == ["hint: is the table fligths spelt flights?"]
    flights.failures.append(Failure(code, "no"))
    assert len((await run("query", "flights")).errors.splitlines()) == 1


async def test_hints_that_fail_are_left_out(run: Run, flights: FakeService) -> None:
    """An error during the look-up for a hint is not shown."""
    flights.failures.extend([REFUSED, Failure(grpc.StatusCode.INTERNAL, "and more")])
    outcome = await run("query", "flights", "carier = 'UA'")
    assert outcome.errors == "ddbq: FAILED_PRECONDITION: this needs a scan\n"


async def test_clauses_are_lines_on_a_terminal(
    environment: dict[str, str], flights: FakeService
) -> None:
    """On a terminal a long refusal has one clause a line."""
    message = (
        "this needs a scan, which the catalog does not allow; ways out: the operator can set "
        "required: [placed_at]; the caller can set index: by_status"
    )
    flights.failures.append(Failure(grpc.StatusCode.FAILED_PRECONDITION, message))
    shown = (await run_on_terminal(environment, "query", "flights")).output.replace("\r", "")
    assert shown.splitlines() == [
        "ddbq: FAILED_PRECONDITION: this needs a scan, which the catalog does not allow",
        "  ways out: the operator can set required: [placed_at]",
        "  the caller can set index: by_status",
    ]


def test_comparisons_are_found() -> None:
    """Operators, BETWEEN and IN are found, with every kind of path and operand."""
    expression = (
        "a = 'x' AND \"b c\".d[0] BETWEEN 1 AND :e AND f IN ('y', :g) AND size(h) > 5 "
        "AND NOT i <> UA OR attribute_exists(j) AND k = true"
    )
    found = [(one.path, one.operand.written) for one in comparisons(expression)]
    assert found == [
        ("a", "'x'"),
        ('"b c".d[0]', "1"),
        ('"b c".d[0]', ":e"),
        ("f", "'y'"),
        ("f", ":g"),
        ("i", "UA"),
    ]
    assert list(names(expression)) == ["a", "b c", "f", "h", "i", "UA", "j", "k"]
    for nonsense in ("", "a", "a =", "a IN", "a BETWEEN", "'", "= = =", "a = ("):
        assert list(comparisons(nonsense)) == []
