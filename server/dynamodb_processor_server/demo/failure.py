"""What ends the demo early."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demo cannot be set up, or did not show what it promises; the text says which and why."""
