"""The TypeScript client's own tests pass, against the real service and against broken ones."""

from __future__ import annotations

import json
import re
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.catalog_service_pb2 import (
    GetTableResponse,
    KeyAttribute,
    KeySchema,
    Table,
)
from tests.interop.typescript import TypeScript, run
from tests.support.certificates import Certificate, issue
from tests.support.datasets import Schema
from tests.support.documentation import ROOT, code_blocks
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.fake_server import running
from tests.support.fake_service import Cut, Failure, FakeService, numbered
from tests.support.lengths import FULL, PATIENCE
from tests.support.running import Service, make_key, open_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TABLE: Final = "interop-typescript"
_FLIGHTS: Final = "interop-typescript-flights"
_EVENTS: Final = 300
_EXAMPLES: Final = {
    "example.ts": "clients/typescript/README.md",
    "guide.ts": "docs/guide/typescript-client.md",
}
_BROKEN: Final = Failure(grpc.StatusCode.UNAVAILABLE)
_VALUES: Final[dict[str, Any]] = {
    "user_id": {"S": "values"},
    "seq": {"N": "-1234567890.0123456789012345678"},
    "data": {"B": b"\x00\xff"},
    "yes": {"BOOL": True},
    "nothing": {"NULL": True},
    "words": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", "2.5"]},
    "pieces": {"BS": [b"\x00", b"\xff"]},
    "list": {"L": [{"S": "x"}, {"N": "0"}, {"NULL": True}, {"L": []}]},
    "map": {"M": {"a.b": {"M": {}}, "x y": {"BOOL": False}}},
}


def _fakes() -> dict[str, FakeService]:
    """Return services of 1,000 numbered items; test/breaks.test.ts names their defects."""
    expired = ErrorInfo(reason="BEARER_TOKEN_EXPIRED")
    large = ErrorInfo(reason="ITEM_TOO_LARGE", metadata={"next_page_token": "behind"})
    key = KeySchema(partition=[KeyAttribute(name="n")])
    table = GetTableResponse(table=Table(key=key))
    statuses = grpc.StatusCode

    def fake(**fields: Any) -> FakeService:
        service = FakeService(items=numbered(1_000))
        for name, value in fields.items():
            current = getattr(service, name)
            if name in ("cuts", "failures", "freshness_tokens"):
                current.extend(value)
            else:
                setattr(service, name, value)
        return service

    violation = BadRequest.FieldViolation(field="cache.not_before_token")
    unreadable = Failure(
        statuses.INVALID_ARGUMENT, details=(BadRequest(field_violations=[violation]),)
    )
    busy = Failure(statuses.UNAVAILABLE, details=(RetryInfo(retry_delay=Duration(seconds=2)),))
    spent = Failure(statuses.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "-1"),))
    return {
        "affinity": fake(table=table),
        "broken": fake(cuts=[Cut(2, _BROKEN), Cut(0, _BROKEN), Cut(3, None)]),
        "busy": fake(failures=[busy]),
        "counting": fake(counted_at_once=250),
        "deferring": fake(got_at_once=40),
        "expiring": fake(cuts=[Cut(1, Failure(statuses.UNAUTHENTICATED, details=(expired,)))]),
        "forgetful": fake(forgets_last=True),
        "hanging": fake(hang_after=1),
        "large": fake(failures=[Failure(statuses.FAILED_PRECONDITION, details=(large,))]),
        "left": fake(),
        "limited": fake(time_limit=2),
        "refused": fake(cuts=[Cut(1, Failure(statuses.PERMISSION_DENIED, "not you"))]),
        "session": fake(freshness_tokens="abcdef"),
        "session stream": fake(cuts=[Cut(2, _BROKEN)], freshness_tokens="abc"),
        "silent": fake(cuts=[Cut(1, None), *(Cut(0, None) for _ in range(6))]),
        "spent": fake(failures=[spent]),
        "unreadable": fake(failures=[unreadable, unreadable], freshness_tokens="a"),
        "whole": fake(),
    }


def _certain(authority: Certificate) -> grpc.ServerCredentials:
    """Return the credentials of a server that demands a certificate of the authority."""
    own = issue(issuer=authority)
    return grpc.ssl_server_credentials(
        [(own.key, own.pem)], root_certificates=authority.pem, require_client_auth=True
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """A server with 300 events of a user, an item with a value of each type, and 300 flights."""
    client = open_client(dynamodb_local)
    create_table(client, Schema(_TABLE, "user_id", "seq", (), {"user_id": "S", "seq": "N"}))
    text = {"S": "x" * 1_000}
    events = [
        {"user_id": {"S": "u-1"}, "seq": {"N": str(seq)}, "text": text} for seq in range(_EVENTS)
    ]
    put_items(client, _TABLE, [*events, _VALUES])
    create_table(client, Schema(_FLIGHTS, "carrier", "flight", (), {"carrier": "S", "flight": "N"}))
    flights = [{"carrier": {"S": "UA"}, "flight": {"N": str(number)}} for number in range(_EVENTS)]
    put_items(client, _FLIGHTS, flights)
    client.close()
    catalog = {
        "tables": {
            "events": {"table": _TABLE, "description": "Events of users."},
            "flights": {"table": _FLIGHTS, "description": "The table of the example."},
        }
    }
    directory = tmp_path_factory.mktemp("typescript-server")
    async with open_service(directory, dynamodb_local, catalog, [make_key("reader")]) as opened:
        yield opened


async def test_the_tests_of_the_package_pass(
    service: Service, typescript: TypeScript, report: Callable[[str, str, str], None]
) -> None:
    """Values, pages, streams, errors, deadlines and resumption are as the README says."""
    fakes, secure = _fakes(), FakeService(items=numbered(1_000))
    authority = issue(common_name="authority")
    async with AsyncExitStack() as stack:
        for fake in fakes.values():
            await stack.enter_async_context(running(fake))
        await stack.enter_async_context(running(secure, _certain(authority)))
        caller = issue(issuer=authority)
        targets = {
            "real": service.app.address,
            "apiKey": service.keys["reader"].text,
            "fakes": {name: fake.address for name, fake in fakes.items()},
            "secure": secure.address,
            "ca": authority.pem.decode(),
            "cert": caller.pem.decode(),
            "key": caller.key.decode(),
        }
        tests = [str(file) for file in sorted(typescript.build.glob("*.test.js"))]
        code, output = await typescript.node(
            "--test",
            "--test-reporter=tap",
            *tests,
            TARGETS=json.dumps(targets),
            AFFINITY_CASES=str(ROOT / "tests/cases/affinity.json"),
            SESSION_CASES=str(ROOT / "tests/cases/session_tokens.json"),
        )
    failed = re.findall(r"^ *not ok (?:.*\n){1,30}", output, re.MULTILINE)
    assert code == 0, "".join(failed) or output
    passed = re.search(r"^# pass (\d+)$", output, re.MULTILINE)
    assert passed
    report("TypeScript client", "its tests pass", f"{passed[1]} tests")

    _check_sessions(fakes)
    assert not fakes["left"].stream_requests
    keys = [dict(one).get("x-affinity-key") for one in fakes["affinity"].metadata]
    described, *reads = keys
    assert described is None
    assert len(reads) == 3
    assert len(set(reads)) == 1
    assert re.fullmatch(r"[0-9a-f]{16}", str(reads[0]))


def _check_sessions(fakes: dict[str, FakeService]) -> None:
    """Compare the bounds that the requests of test/session.test.ts were sent with."""
    session = fakes["session"]
    sent = [one.cache.not_before_token for one in session.requests]
    assert sent == ["", "", "a.b", "d.given"]
    (counted,) = session.count_requests
    assert counted.cache.not_before_token == "c"
    (got,) = session.batch_requests
    assert got.cache.not_before_token == "e"
    last = session.requests[-1].cache
    assert last.mode == query_pb2.CACHE_MODE_REFRESH
    assert counted.cache.not_before.ToMilliseconds() == 1_769_860_800_500
    assert last.not_before.ToMilliseconds() == 0, "the caller's: the count has shown the write"
    sent = [one.cache.not_before_token for one in fakes["session stream"].stream_requests]
    assert sent == ["", "b"]
    (repeated,) = fakes["unreadable"].requests
    assert time.time() - repeated.cache.not_before.seconds < 4 * PATIENCE


async def test_the_example_runs_with_the_packed_package(
    service: Service, typescript: TypeScript, tmp_path: Path
) -> None:
    """The README's first example runs with the tarball; it and the guide's are valid."""
    command = [*typescript.cache.npm(), "pack", "--pack-destination", str(tmp_path)]
    code, output = await run(command, typescript.folder)
    assert code == 0, output
    tarball = tmp_path / output.split()[-1]
    fresh = tmp_path / "fresh"
    await _install(typescript, tarball, fresh)

    (fresh / "package.json").write_text('{"type": "module"}', "utf-8")
    for name, page in _EXAMPLES.items():
        (fresh / name).write_text(code_blocks(page, "ts")[0], "utf-8")
    types = typescript.folder / "node_modules/@types"
    options = ["--typeRoots", str(types), "--types", "node", "--module", "nodenext", "--strict"]
    code, output = await run([*typescript.tsc, *options, "--target", "es2022", *_EXAMPLES], fresh)
    assert code == 0, output
    code, output = await run(
        [typescript.cache.node(), "example.js"],
        fresh,
        {
            "DDBQ_URL": f"http://{service.app.address}",
            "DDBQ_API_KEY": service.keys["reader"].text,
        },
    )
    assert (code, output) == (0, "100 items, more follow\n250 items streamed\n")


async def _install(typescript: TypeScript, tarball: Path, folder: Path) -> None:
    """Install the tarball: by npm in full runs, else without another fetch of its dependencies."""
    packages = folder / "node_modules"
    packages.mkdir(parents=True)
    if FULL:
        npm = typescript.cache.npm()
        code, output = await run([*npm, "install", "--no-audit", "--no-fund", str(tarball)], folder)
        assert code == 0, output
        return
    with tarfile.open(tarball) as archive:
        archive.extractall(packages, filter="data")
    (packages / "package").rename(packages / "dynamodb-processor-client")
    for scope in ("@bufbuild", "@connectrpc"):
        (packages / scope).symlink_to(typescript.folder / "node_modules" / scope)
