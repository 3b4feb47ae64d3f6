"""Counts the files that one call enters, and how often it switches between them.

The service runs in this process on a scripted DynamoDB client, composed as in production. One call
of each kind is traced with `sys.setprofile`, from the start of the servicer's method to its end:
hooks are the same for all calls. A step is a function of the server. A switch is a step in another
file than the step before. A call with few files and switches is easy to follow in the code.

The kinds are a cache hit, and a cache miss of a query that has been planned before.
Prints a table; `--steps` also prints each step. Fails when a figure is above its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import grpc
import structlog
import yaml
from google.protobuf.duration_pb2 import Duration

import dynamodb_processor_server
from dynamodb_processor.v1.query_pb2 import CachePolicy, QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor_server.app import open_app
from dynamodb_processor_server.auth.keys_file import new_key
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.settings import Settings

if TYPE_CHECKING:
    from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceAsyncStub

_SERVER: Final = str(Path(dynamodb_processor_server.__file__).parent) + "/"
_METHOD: Final = "QueryServicer.Query"
_HOOKS: Final = "rpc/interceptors/"
_TABLE: Final = "events"
_TIMEOUT: Final = 10.0
_WARM_CALLS: Final = 3
_REST: Final = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Bound:
    """The most files that a call may enter, and the most switches between them."""

    files: int
    switches: int


_HIT: Final = Bound(files=12, switches=24)
_MISS: Final = Bound(files=25, switches=110)


@dataclass(slots=True)
class Trace:
    """The steps of a call, as file and function, in order.

    A coroutine that continues after a wait counts as entered again.
    """

    steps: list[tuple[str, str]] = field(default_factory=list)
    _end: int = 0

    def enter(self, file: str, function: str) -> None:
        """Add a step, unless the servicer's method has not started; hooks wait around it."""
        if (self.steps or function == _METHOD) and not file.startswith(_HOOKS):
            self.steps.append((file, function))

    def leave(self, function: str) -> None:
        """Note the number of steps when the servicer's method ends or waits."""
        if function == _METHOD:
            self._end = len(self.steps)

    def close(self) -> None:
        """Drop the steps after the end of the servicer's method."""
        del self.steps[self._end :]

    @property
    def files(self) -> list[str]:
        """The files, in the order of their first functions."""
        return list(dict.fromkeys(file for file, _ in self.steps))

    @property
    def switches(self) -> int:
        """How often a function follows one of another file."""
        files = [file for file, _ in self.steps]
        return sum(one != other for one, other in pairwise(files))


class ScriptedClient:
    """A DynamoDB client with one table, whose queries return the same two items at once."""

    meta = SimpleNamespace(endpoint_url="http://scripted", region_name="eu-west-1")

    async def describe_table(self, **_: Any) -> dict[str, Any]:
        """Return the description of the table."""
        keys = (("user_id", "HASH"), ("seq", "RANGE"))
        return {
            "Table": {
                "TableName": _TABLE,
                "TableArn": f"arn:aws:dynamodb:eu-west-1:000000000000:table/{_TABLE}",
                "TableId": "scripted",
                "TableStatus": "ACTIVE",
                "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys],
                "AttributeDefinitions": [
                    {"AttributeName": "user_id", "AttributeType": "S"},
                    {"AttributeName": "seq", "AttributeType": "N"},
                ],
            }
        }

    async def query(self, **_: Any) -> dict[str, Any]:
        """Return all items of a partition."""
        items = [{"user_id": {"S": "u"}, "seq": {"N": str(number)}} for number in range(2)]
        return {
            "Items": items,
            "Count": len(items),
            "ScannedCount": len(items),
            "ConsumedCapacity": {"TableName": _TABLE, "CapacityUnits": 0.5},
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Trace, print and compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", action="store_true", help="also print each step")
    args = parser.parse_args(arguments)
    hit, miss = asyncio.run(_traces())
    fits = True
    print(f"{'call':6}{'steps':>7}{'files':>7}{'switches':>10}{'bound':>12}")
    for name, trace, bound in (("hit", hit, _HIT), ("miss", miss, _MISS)):
        files, switches = len(trace.files), trace.switches
        allowed = f"{bound.files} / {bound.switches}"
        print(f"{name:6}{len(trace.steps):7}{files:7}{switches:10}{allowed:>12}")
        fits = fits and files <= bound.files and switches <= bound.switches
    for name, trace in (("hit", hit), ("miss", miss)):
        print(f"\n{name}: " + ", ".join(trace.files))
        if args.steps:
            print("\n".join(f"  {file}  {function}" for file, function in trace.steps))
    return 0 if fits else 1


async def _traces() -> tuple[Trace, Trace]:
    """Return the traces of a hit and of a miss."""
    logging.disable()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory(prefix="dynamodb-processor-trace-") as directory:
        async with _service(Path(directory)) as (queries, metadata):
            spec = QuerySpec(table=_TABLE, expression="user_id = 'u'")
            hit = QueryRequest(query=spec)
            # The cached page is always older than a nanosecond.
            miss = QueryRequest(query=spec, cache=CachePolicy(max_staleness=Duration(nanos=1)))
            traces = []
            for request in (hit, miss):
                for _ in range(_WARM_CALLS):
                    await queries.Query(request, metadata=metadata, timeout=_TIMEOUT)
                await asyncio.sleep(_REST)  # the server ends the call before
                with _traced() as trace:
                    await queries.Query(request, metadata=metadata, timeout=_TIMEOUT)
                traces.append(trace)
            return traces[0], traces[1]


@contextmanager
def _traced() -> Iterator[Trace]:
    """Trace the call that the server answers within the `with`."""
    trace = Trace()

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(_SERVER):
            return
        if event == "call":
            trace.enter(code.co_filename.removeprefix(_SERVER), code.co_qualname)
        elif event == "return":
            trace.leave(code.co_qualname)

    sys.setprofile(note)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        trace.close()


@asynccontextmanager
async def _service(
    directory: Path,
) -> AsyncIterator[tuple[QueryServiceAsyncStub, tuple[tuple[str, str], ...]]]:
    """Run the service on the scripted client; give a stub, and the metadata of a key."""
    text, digest = new_key()
    entry = {"id": "trace-1", "principal": "trace", "digest": digest, "tables": [_TABLE]}
    catalog, keys = directory / "catalog.yaml", directory / "keys.yaml"
    catalog.write_text(yaml.safe_dump({"tables": {_TABLE: {}}}))
    keys.write_text(yaml.safe_dump({"keys": [entry]}))
    settings = Settings(
        catalog=catalog,
        keys=keys,
        listen="127.0.0.1:0",
        metrics_listen=None,
        region="eu-west-1",
        drain_delay=0.0,
        drain_grace=1.0,
        reload_interval=3_600.0,
    )

    async def scripted(self: Clients, source: tuple[str | None, str | None]) -> Any:
        return ScriptedClient()

    # The composition root opens the clients, and nothing else has to differ from production.
    Clients._open = scripted  # type: ignore[method-assign]
    async with open_app(settings) as app, grpc.aio.insecure_channel(app.address) as channel:
        yield QueryServiceStub(channel), (("x-api-key", text),)


if __name__ == "__main__":
    sys.exit(main())
