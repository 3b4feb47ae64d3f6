"""The web console of `make console`, beside the gateway."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from gateway.options import Address


@dataclass(frozen=True, slots=True)
class Console:
    """A web console: its address, its files, and the origin of the gateway that it calls."""

    listen: Address
    files: Path
    gateway: str

    @property
    def origin(self) -> str:
        """The origin of its page."""
        return f"http://{self.listen}"


def console_of(files: Path, listen: Address, gateway: Address) -> Console:
    """Return a console, whose `config.json` is written."""
    console = Console(listen, files, f"http://{gateway}")
    (files / "config.json").write_text(json.dumps({"gateway": console.gateway}) + "\n", "utf-8")
    return console
