"""Tests of the demo's check of its port."""

from __future__ import annotations

import socket

import pytest

from dynamodb_processor_server.demo.command import check_free
from dynamodb_processor_server.errors import ConfigurationError


def test_taken_port_is_noticed_before_anything_is_set_up() -> None:
    """The error comes at once if another demo runs, and names the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=r"(?s)cannot serve on .*--listen 127.0.0.1:0"):
            check_free(f"127.0.0.1:{port}")
    check_free(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    "listen", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"]
)
def test_a_text_that_is_no_address_is_refused(listen: str) -> None:
    """The error names the setting and its form."""
    with pytest.raises(ConfigurationError, match="listen: must be HOST:PORT"):
        check_free(listen)
