"""JSON to and from bytes."""

from __future__ import annotations

import tracemalloc

from dynamodb_processor_server.runtime import json_text


def test_the_bytes_of_a_text_hold_no_buffer() -> None:
    """A short text takes its own size in memory: one is held with each cached page."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        texts = [json_text.dumps([{"id": {"N": str(number)}}]) for number in range(1_000)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200 * len(texts)
