"""Compares the bill of materials with the lock that it is made from.

`sbom.py SBOM LOCK` prints the packages that only one of them has, and those without a hash.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def sbom_findings(sbom: Mapping[str, Any], lock: str) -> Iterator[str]:
    """Yield one sentence for each difference."""
    listed = {(one["name"], one["version"]): one for one in sbom["components"]}
    pins = set(_PIN.findall(lock))
    if not pins:
        yield "the lock has no packages"
    for name, version in sorted(pins - listed.keys()):
        yield f"{name} {version} is in the lock alone"
    for name, version in sorted(listed.keys() - pins):
        yield f"{name} {version} is in the bill of materials alone"
    for (name, version), one in sorted(listed.items()):
        references = one.get("externalReferences", ())
        if not any(reference.get("hashes") for reference in references):
            yield f"{name} {version} has no hash"


def main(arguments: Sequence[str]) -> int:
    """Print the differences; return 1 if there are any."""
    sbom, lock = (Path(name).read_text("utf-8") for name in arguments)
    findings = list(sbom_findings(json.loads(sbom), lock))
    print("\n".join(findings) or "the bill of materials has every package of the lock")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
