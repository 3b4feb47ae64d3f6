"""Checks deploy/cloudformation against this project, which no tool of the format knows.

Run by `make check-deploy`. Each finding is a line; the exit code is 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import cfn_alarms
import cfn_service
import cfn_stacks
from cfn_template import ROOT, load


def findings() -> Iterator[str]:
    """Yield every finding."""
    templates, files = load(), cfn_stacks.parameter_files()
    yield from cfn_stacks.check(templates, files)
    service = templates["service"]
    yield from cfn_service.check_balancing(service)
    yield from cfn_service.check_ports(service, image_port())
    yield from cfn_service.check_container(service)
    yield from cfn_service.check_settings(service, files)
    yield from cfn_alarms.check(templates)


def image_port() -> int:
    """Return the port on which the image serves gRPC."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    found = re.search(r"DYNAMODB_PROCESSOR_LISTEN=\S+:(\d+)", dockerfile)
    assert found is not None, "the Dockerfile does not set DYNAMODB_PROCESSOR_LISTEN"
    return int(found[1])


def main() -> int:
    """Print the findings; return 0 if there are none."""
    found = list(findings())
    print("\n".join(found) or "no findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
