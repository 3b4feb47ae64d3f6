"""The steps of the tour: calls by curl that show the gateway, and checks of their answers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from dynamodb_processor_server.auth.keys_file import new_key
from dynamodb_processor_server.demo.failure import DemoFailed
from dynamodb_processor_server.demo.sample_table import SampleTable
from dynamodb_processor_server.demo.screen import Screen
from tour.curl import Answer, command_line, run

ALLOWED_ORIGIN: Final = "https://console.example"
_SHOWN_LINES: Final = 14
_UNITED: Final = {"expression": "carrier = :c", "parameters": {"c": {"s": "UA"}}}
_COLUMNS: Final = ["departure", "tailnum", "distance"]


class Tour:
    """Calls the gateway at `url` with an API key, and compares its answers with the flights."""

    def __init__(self, url: str, api_key: str, flights: SampleTable, screen: Screen) -> None:
        self._url = url
        self._api_key = api_key
        self._flights = list(flights.partition("UA"))
        self._screen = screen
        self._token = ""

    async def run(self) -> int:
        """Take every step and return their number.

        Raises:
            DemoFailed: an answer is not the expected one.
        """
        steps: Sequence[tuple[str, Callable[[], Awaitable[None]]]] = (
            ("The tables that this key may read", self._tables),
            ("A table: its keys and indexes", self._table),
            ("One page of a query", self._first_page),
            ("The next page, by its token", self._second_page),
            ("A count", self._count),
            ("The plan of a query, and the rejected indexes", self._explain),
            ("Items by their keys", self._batch),
            ("Every page of a query, a line each: the last one has `last`", self._stream),
            ("A misspelt field is refused, not ignored", self._misspelt),
            ("A mistake in an expression, with its column", self._syntax_error),
            ("An unknown API key", self._wrong_key),
            ("A route that does not exist", self._no_route),
            ("A page of an allowed origin may call", self._allowed_origin),
            ("A page of another origin may not", self._other_origin),
            ("The description of all routes, in OpenAPI 3.1", self._description),
            ("The reference page", self._page),
        )
        for number, (title, step) in enumerate(steps, 1):
            self._screen.title(f"{number}. {title}")
            try:
                await step()
            except (DemoFailed, LookupError, ValueError) as error:
                raise DemoFailed(f"step {number}, {title}: {error!r}") from error
        return len(steps)

    async def _tables(self) -> None:
        answer = await self._call("/v1/tables")
        names = [table["name"] for table in answer.content["tables"]]
        _expect(names == ["activity", "audit_events", "flights"], f"the tables are {names}")

    async def _table(self) -> None:
        table = (await self._call("/v1/tables/flights")).content["table"]
        key = table["key"]["partition"][0]
        _expect(key["name"] == "carrier", f"the partition key is {key}")
        _expect(key["type"] == "KEY_TYPE_STRING", "the type of the key is not a name")

    async def _first_page(self) -> None:
        body = {"query": {**_UNITED, "projection": _COLUMNS}, "pageSize": 3}
        page = (await self._call("/v1/tables/flights:query", body)).content
        self._expect_flights(page, self._flights[:3])
        self._token = page["nextPageToken"]
        _expect(bool(self._token), "there is no token, but there are more flights")

    async def _second_page(self) -> None:
        body = {
            "query": {**_UNITED, "projection": _COLUMNS},
            "pageSize": 3,
            "pageToken": self._token,
        }
        page = (await self._call("/v1/tables/flights:query", body)).content
        self._expect_flights(page, self._flights[3:6])

    async def _count(self) -> None:
        answer = (await self._call("/v1/tables/flights:count", {"query": _UNITED})).content
        total = answer["total"]
        _expect(total["value"] == str(len(self._flights)), f"the total is {total}")

    async def _explain(self) -> None:
        query = {"expression": "tailnum = 'N730MQ' AND distance > 500"}
        answer = (await self._call("/v1/tables/flights:explain", {"query": query})).content
        _expect(answer["index"] == "by_aircraft", f"the index is {answer['index']}")

    async def _batch(self) -> None:
        keys = [
            {"attributes": {"carrier": {"s": "UA"}, "departure": {"s": flight["departure"]}}}
            for flight in self._flights[:2]
        ]
        body = {"keys": keys, "projection": ["departure", "dest"]}
        results = (await self._call("/v1/tables/flights:batchGet", body)).content["results"]
        found = [result["item"]["attributes"]["dest"]["s"] for result in results]
        _expect(found == [each["dest"] for each in self._flights[:2]], f"found {found}")

    async def _stream(self) -> None:
        body = {"query": {**_UNITED, "projection": ["departure"]}, "pageSize": 250}
        messages = (await self._call("/v1/tables/flights:stream", body)).messages
        items = sum(len(message["items"]) for message in messages)
        _expect(items == len(self._flights), f"the stream has {items} items")
        ends = [message["last"] for message in messages]
        _expect(ends == [False] * (len(ends) - 1) + [True], f"`last` is {ends}")

    async def _misspelt(self) -> None:
        body = {"query": {**_UNITED, "maxItms": "3"}}
        await self._refused("/v1/tables/flights:query", body, 400, "INVALID_REQUEST")

    async def _syntax_error(self) -> None:
        body = {"query": {"expression": "carrier = 'UA' AND distance >> 2000"}}
        await self._refused("/v1/tables/flights:query", body, 400, "INVALID_REQUEST")

    async def _wrong_key(self) -> None:
        key = f"x-api-key: {new_key()[0]}"
        await self._refused("/v1/tables", None, 401, "UNAUTHENTICATED", key)

    async def _no_route(self) -> None:
        await self._refused("/v2/tables", None, 404, "ROUTE_NOT_FOUND")

    async def _allowed_origin(self) -> None:
        answer = await self._preflight(ALLOWED_ORIGIN)
        allowed = answer.headers.get("access-control-allow-origin")
        _expect(allowed == ALLOWED_ORIGIN, f"the allowed origin is {allowed}")

    async def _other_origin(self) -> None:
        answer = await self._preflight("https://other.example")
        _expect("access-control-allow-origin" not in answer.headers, "it is allowed")

    async def _description(self) -> None:
        answer = await self._call("/openapi.json", key="")
        routes = json.loads(answer.body)["paths"]
        _expect("/v1/tables/{table}:query" in routes, f"the routes are {list(routes)}")

    async def _page(self) -> None:
        answer = await self._call("/reference/", key="")
        _expect(b"swagger-ui" in answer.body, "it is another page")
        policy = answer.headers["content-security-policy"]
        self._screen.note(f"content-security-policy: {policy}")

    async def _call(
        self, path: str, body: Any = None, *, status: int = 200, key: str | None = None
    ) -> Answer:
        key = f"x-api-key: {self._api_key}" if key is None else key
        return await self._curl(path, [key] if key else [], body, status)

    async def _refused(
        self, path: str, body: Any, status: int, reason: str, key: str | None = None
    ) -> None:
        answer = await self._call(path, body, status=status, key=key)
        (info,) = (one for one in answer.content["details"] if one["@type"].endswith("ErrorInfo"))
        _expect(info["reason"] == reason, f"the reason is {info['reason']}")

    async def _preflight(self, origin: str) -> Answer:
        headers = [f"origin: {origin}", "access-control-request-method: POST"]
        headers.append("access-control-request-headers: content-type,x-api-key")
        status = 200 if origin == ALLOWED_ORIGIN else 403
        return await self._curl("/v1/tables/flights:query", headers, None, status, "OPTIONS")

    async def _curl(
        self, path: str, headers: Sequence[str], body: Any, status: int, method: str | None = None
    ) -> Answer:
        """Make a request, and show the command and the answer."""
        command = command_line(self._url + path, headers, body, method)
        self._screen.command(shlex.join(command))
        answer = await run(command)
        lines = _shown(answer)
        for line in lines[:_SHOWN_LINES]:
            self._screen.say(f"  {line}")
        if len(lines) > _SHOWN_LINES:
            self._screen.say(f"  … {len(lines) - _SHOWN_LINES} more lines")
        kind = answer.headers.get("content-type", "no content")
        self._screen.note(f"HTTP {answer.status}, {kind}, {len(answer.body):,} bytes")
        _expect(answer.status == status, f"the status is {answer.status}, not {status}")
        return answer

    def _expect_flights(self, page: dict[str, Any], expected: Sequence[dict[str, Any]]) -> None:
        found = [item["attributes"]["departure"]["s"] for item in page["items"]]
        _expect(found == [each["departure"] for each in expected], f"the flights are {found}")


def _shown(answer: Answer) -> list[str]:
    """Return the lines of a body; one JSON object is laid out, and others are cut."""
    text = answer.body.decode()
    if "json" in answer.headers.get("content-type", "") and text.count("\n") <= 1:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return [line if len(line) <= 110 else f"{line[:109]}…" for line in text.splitlines()]


def _expect(holds: bool, complaint: str) -> None:
    if not holds:
        raise DemoFailed(complaint)
