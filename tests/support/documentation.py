"""The code blocks of README and documentation, for tests that run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_PROGRAM: Final = """\
import asyncio
import os

from dynamodb_processor_client import QueryClient


async def main() -> None:
    key = os.environ["DDBQ_API_KEY"]
    async with QueryClient(os.environ["DDBQ_TARGET"], api_key=key) as client:
        {body}


asyncio.run(main())
"""


def code_blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language; the page is a path in the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def python_program(block: str) -> str:
    """Return a block as a program: a fragment gets a client that it may use."""
    if block.startswith("import "):
        return block
    return _PROGRAM.format(body=block.rstrip().replace("\n", "\n        "))
