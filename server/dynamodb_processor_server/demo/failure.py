"""The error that ends the demo early."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demo cannot be set up, or an answer is not the expected one; the text has the reason."""
