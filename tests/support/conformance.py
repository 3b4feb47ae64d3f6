"""The conformance kit in tests/cases/contract: its cases, and the server that they are made for."""

from __future__ import annotations

import asyncio
import json
import uuid
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import ParseDict

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.faults.stub import Reply, Stub, open_stub, refusal
from tests.support.access import token_keys
from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import Key, Service, make_key, open_service
from tests.support.tokens import SigningKey, Token, key_set, write_identity

_KIT: Final = Path(__file__).parents[1] / "cases/contract"
_SERVER_FILE: Final = "server.json"
_SIGNING_KEY: Final = SigningKey()


@dataclass(frozen=True, slots=True)
class Case:
    """One case of the kit; tests/cases/contract/README.md describes the fields."""

    name: str
    call: str
    request: dict[str, Any]
    expect: dict[str, Any]
    caller: str = "reader"
    timeout: float | None = None
    tokenFrom: str = ""  # noqa: N815 - the field's name in the kit
    follow: bool = False
    resume: bool = False
    repeat: int = 1
    raw: bool = False
    session: bool = False

    def __str__(self) -> str:
        return self.name


def load_cases() -> list[Case]:
    """Return every case of the kit. An unknown field of a case is an error."""
    files = sorted(file for file in _KIT.glob("*.json") if file.name != _SERVER_FILE)
    return [Case(**case) for file in files for case in json.loads(file.read_text("utf-8"))["cases"]]


@dataclass(frozen=True, slots=True)
class KitServer:
    """A running server with the tables of the kit.

    `credentials` are by caller; a caller without one sends none. `page_tokens` are expired tokens
    of the caller `reader`, by name.
    """

    address: str
    credentials: Mapping[str, Key | None]
    page_tokens: Mapping[str, str]

    def to_json(self) -> str:
        """Return the address, the credentials and the tokens for a runner in another process."""
        callers = {name: _credential(key) for name, key in self.credentials.items()}
        tokens = dict(self.page_tokens)
        return json.dumps({"address": self.address, "callers": callers, "tokens": tokens})


def _credential(key: Key | None) -> dict[str, str]:
    if key is None:
        return {}
    return {"token" if isinstance(key, Token) else "apiKey": key.text}


@dataclass(frozen=True)
class _Plan:
    """The content of the server's file, with table names that no other test has."""

    content: dict[str, Any] = field(
        default_factory=lambda: json.loads((_KIT / _SERVER_FILE).read_text("utf-8"))
    )
    prefix: str = field(default_factory=lambda: f"kit-{uuid.uuid4().hex[:8]}-")

    def create_tables(self, endpoint_url: str) -> None:
        client = open_client(endpoint_url)
        try:
            for name, table in self.content["tables"].items():
                create_table(client, _schema(self.prefix + name, table))
                put_items(client, self.prefix + name, map(_wire_item, table["items"]))
        finally:
            client.close()

    def catalog(self) -> dict[str, Any]:
        return {
            "tables": {
                name: {"table": self.prefix + name, **entry}
                for name, entry in self.content["catalog"].items()
            }
        }

    def credentials(self) -> dict[str, Key | None]:
        return {name: _made(name, caller) for name, caller in self.content["callers"].items()}

    def fail(self, number: int, body: bytes) -> Reply | None:
        """Answer reads of the tables that fail."""
        table = json.loads(body).get("TableName", "")
        failing = table.removeprefix(self.prefix) in self.content["failing"]
        return refusal("InternalServerError", 500) if failing else None


def _schema(name: str, table: Mapping[str, Any]) -> Schema:
    indexes = tuple(
        Index(
            each["name"],
            each["local"],
            tuple(each["partition"]),
            tuple(each["sort"]),
            each["projection"],
        )
        for each in table["indexes"]
    )
    return Schema(name, table["partition"], table["sort"], indexes, table["types"])


def _made(name: str, caller: Mapping[str, Any]) -> Key | None:
    """Return the credential of a caller."""
    if "key" in caller:
        return make_key(name, **caller["key"])
    if caller.get("unknownKey"):
        return make_key(name)
    if "token" not in caller:
        return None
    # A token that another key signed is refused like one that was altered.
    signer = SigningKey() if caller.get("altered") else _SIGNING_KEY
    return Token(signer.sign(caller.get("header"), **caller["token"]), {})


def _wire_item(item: Mapping[str, Any]) -> WireItem:
    return {name: wire_value(value) for name, value in item.items()}


def wire_value(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value in proto3 JSON as boto3's low-level client takes it.

    The string of a value with `times` is repeated.
    """
    ((kind, data),) = ((kind, data) for kind, data in value.items() if kind != "times")
    match kind:
        case "s":
            return {"S": data * value.get("times", 1)}
        case "b":
            return {"B": b64decode(data)}
        case "bs":
            return {"BS": [b64decode(member) for member in data["values"]]}
        case "ss" | "ns":
            return {kind.upper(): data["values"]}
        case "l":
            return {"L": [wire_value(member) for member in data.get("values", [])]}
        case "m":
            fields = data.get("fields", {})
            return {"M": {name: wire_value(member) for name, member in fields.items()}}
    return {kind.upper(): data}


@asynccontextmanager
async def open_kit_server(directory: Path, endpoint_url: str) -> AsyncIterator[KitServer]:
    """Fill the tables of the kit, and run its server during the `async with`."""
    plan = _Plan()
    await asyncio.to_thread(plan.create_tables, endpoint_url)
    credentials = plan.credentials()
    unknown = [name for name, one in plan.content["callers"].items() if one.get("unknownKey")]
    keys = [
        key
        for name, key in credentials.items()
        if key is not None and not isinstance(key, Token) and name not in unknown
    ]
    (directory / "keys.json").write_bytes(key_set(_SIGNING_KEY))
    identity = directory / "identity.yaml"
    write_identity(identity, plan.content["roles"], jwks_file="keys.json")
    settings = {"identity": identity, "token_keys": token_keys("kit"), **plan.content["settings"]}
    async with open_stub(endpoint_url) as stub:
        stub.script = plan.fail
        tokens = await _expired_tokens(directory, stub, plan, keys, settings)
        async with _service(directory, stub, plan, keys, settings) as service:
            yield KitServer(service.app.address, credentials, tokens)


def _service(
    directory: Path,
    stub: Stub,
    plan: _Plan,
    keys: Sequence[Key],
    settings: Mapping[str, Any],
) -> Any:
    return open_service(
        directory, f"http://127.0.0.1:{stub.port}", plan.catalog(), keys, **settings
    )


async def _expired_tokens(
    directory: Path,
    stub: Stub,
    plan: _Plan,
    keys: Sequence[Key],
    settings: Mapping[str, Any],
) -> dict[str, str]:
    """Return tokens of a server whose tokens expire at once, and that has the same keys."""
    tokens = {}
    short = {**settings, "token_lifetime": 0.001}
    async with _service(directory, stub, plan, keys, short) as service:
        assert isinstance(service, Service)
        for name, request in plan.content["pageTokens"].items():
            message = ParseDict(request, QueryRequest())
            page = await service.queries.Query(message, metadata=service.metadata("reader"))
            assert page.next_page_token
            tokens[name] = page.next_page_token
    return tokens
