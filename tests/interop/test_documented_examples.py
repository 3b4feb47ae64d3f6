"""The examples for Node.js in the documentation run unchanged, also against broken streams."""

from __future__ import annotations

import asyncio
import os
from typing import Final

import grpc
import pytest

from dynamodb_processor_server.demo.tool_cache import ToolCache
from tests.interop.drivers import CLIENTS
from tests.support.documentation import ROOT, code_blocks
from tests.support.fake_server import running
from tests.support.fake_service import Cut, Failure, FakeService, numbered

_BROKEN: Final = Failure(grpc.StatusCode.UNAVAILABLE)
_REFUSED: Final = Failure(grpc.StatusCode.PERMISSION_DENIED, "not you")
_READ_ALL: Final = """
const numbers = [];
readAll(client, {table: 'numbers'},
  (items) => numbers.push(...items.map((item) => item.attributes.n.n)),
  (error, token) => {
    const failed = error ? grpc.status[error.code] : 'no error';
    console.log(`${numbers.length} items, ${new Set(numbers).size} different, ${failed}, ${token}`);
    client.close();
  });
"""


def _example(page: str) -> str:
    (example,) = code_blocks(f"docs/guide/{page}", "js")
    return example


@pytest.mark.parametrize(
    ("items", "cuts", "first", "all_of_them"),
    [
        (1_000, (), "3 items by @table and more", "1000 items, 1000 different, no error, "),
        (1_000, (Cut(2, _BROKEN), Cut(0, _BROKEN), Cut(3, None)), "3 items by @table and more",
         "1000 items, 1000 different, no error, "),
        (1_000, (Cut(1, _REFUSED),), "3 items by @table and more",
         "100 items, 100 different, PERMISSION_DENIED, undefined"),
        (0, (), "0 items by @table ", "0 items, 0 different, no error, "),
    ],
    ids=["whole", "broken", "refused", "empty"],
)  # fmt: skip
async def test_the_examples_for_node(
    items: int, cuts: tuple[Cut, ...], first: str, all_of_them: str
) -> None:
    """The client of other-clients.md gets a page, and the loop of pagination.md every item once."""
    cache = ToolCache(report=print)
    packages = await asyncio.to_thread(cache.npm_project, "interop", CLIENTS)
    service = FakeService(items=numbered(items))
    service.cuts.extend(cuts)
    async with running(service):
        begin = _example("other-clients.md").replace("127.0.0.1:50051", service.address)
        process = await asyncio.create_subprocess_exec(
            *(cache.node(), "-e", begin + _example("pagination.md") + _READ_ALL),
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "NODE_PATH": str(packages / "node_modules"),
                "DDBQ_API_KEY": "ddbp_test",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        shown = (await process.communicate())[0].decode()
    assert sorted(shown.splitlines()) == sorted([first, all_of_them])
