"""Tests that fields are counted before a message is decoded, as protobuf would find them."""

from __future__ import annotations

from hypothesis import given, settings

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, ListValue
from dynamodb_processor_server.rpc.decode.field_count import fields_of, has_more_fields
from tests.support.request_shapes import Shape, shapes
from tests.support.running import query_spec
from tests.support.work import counted_work

_FIELDS = fields_of(QueryRequest.DESCRIPTOR)


def _request(values: int) -> bytes:
    elements = ListValue(values=[AttributeValue(s="x")] * values)
    spec = query_spec("events", "a = :p", parameters={"p": AttributeValue(l=elements)})
    return QueryRequest(query=spec, page_size=3).SerializeToString()


def test_fields_of_nested_messages_count() -> None:
    """The count has the query, its table and expression, a parameter (entry of two) and a list."""
    fields = 1 + 2 + 1 + 2 + 1 + 2 * 10 + 1
    assert has_more_fields(_request(10), _FIELDS, fields - 1)
    assert not has_more_fields(_request(10), _FIELDS, fields)


def test_counting_stops_at_the_bound() -> None:
    """A request of 100,000 values takes no longer to refuse than one of 1,000."""
    for values in (1_000, 100_000):
        data = _request(values)
        with counted_work() as work:
            assert has_more_fields(data, _FIELDS, 500)
        assert work.calls < 5_000


@settings(max_examples=60)
@given(shapes())
def test_bytes_that_are_no_message_raise_nothing(shape: Shape) -> None:
    """Counting bytes that are no message raises nothing; decoding reports the error."""
    data = shape.request()[:5_000]
    for cut in (data, data[:-1], data[1:], data[: len(data) // 2]):
        has_more_fields(cut, _FIELDS, 1_000)
