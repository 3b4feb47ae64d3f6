"""Garbage collection in a server that runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rpc.data import events_catalog
from tests.support.running import make_key, open_service


@pytest.fixture
def default_threshold() -> Iterator[int]:
    """Python's own threshold, which is set again after the test."""
    before = gc.get_threshold()
    gc.set_threshold(700)
    yield 700
    gc.set_threshold(*before)


async def test_pages_cause_no_collection_each(
    tmp_path: Path, dynamodb_local: str, events: str, default_threshold: int
) -> None:
    """A collection comes after the containers of several pages, not within each page."""
    async with open_service(tmp_path, dynamodb_local, events_catalog(events), [make_key("tester")]):
        threshold, *others = gc.get_threshold()
    assert default_threshold < 1_100 * 5 < threshold
    assert all(others), "older objects are collected as well"
