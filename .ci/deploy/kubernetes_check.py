"""Checks `deploy/kubernetes`: each overlay is rendered and validated.

`kubernetes_check.py validate PROGRAM` passes Kubernetes's own kinds to kubernetes-validate, and
`kubernetes_check.py custom` those of operators to the schemas of their operators.
`kubernetes_check.py check` runs the checks of this folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import node_tools
import yaml
from kubernetes_iam import load_policy, policy_findings, role_actions, table_findings
from kubernetes_objects import FOLDER, OVERLAYS, ROOT, Objects, RenderingFailed, parse, render
from kubernetes_pods import pod_findings, settings_of
from kubernetes_references import reference_findings
from prometheus_rule import rule_findings

#: The oldest and the newest release of Kubernetes that the manifests are for.
VERSIONS: Final = ("1.32", "1.37")
_OUTPUT: Final = ROOT / "build" / "kubernetes"
_CUSTOM: Final = ("cert-manager.io/", "monitoring.coreos.com/")
_EXAMPLE: Final = FOLDER / "secret.example.yaml"
#: Manifests that no overlay contains.
_ALONE: Final = (_EXAMPLE, FOLDER / "deployer.yaml", FOLDER / "gateway.yaml")


def main(arguments: Sequence[str]) -> int:
    """Run one of the actions; return 0, or 1 if there are findings."""
    try:
        rendered = {overlay: render(kubectl(), overlay) for overlay in OVERLAYS}
    except RenderingFailed as error:
        print(error)
        return 1
    match arguments:
        case ["validate", program]:
            own, _ = _write(rendered)
            return _validate(program, own)
        case ["custom"]:
            _, custom = _write(rendered)
            return node_tools.run_script("custom_resources.mjs", *map(str, custom))
        case ["check"]:
            findings = [
                f"{overlay}: {finding}"
                for overlay, text in rendered.items()
                for finding in overlay_findings(parse(text))
            ]
            findings += rule_findings()
            findings += policy_findings(load_policy(), role_actions())
            print("\n".join(findings) or f"{len(rendered)} overlays agree with the server")
            return 1 if findings else 0
    print(__doc__)
    return 2


def overlay_findings(objects: Objects) -> Iterator[str]:
    """Yield one sentence for each fault in an overlay."""
    yield from pod_findings(objects)
    settings, _ = settings_of(objects)
    if settings is not None and settings.insecure and any(objects.of("HorizontalPodAutoscaler")):
        yield "several replicas serve plain text: only the overlay for development may be insecure"
    yield from reference_findings(objects, parse(_EXAMPLE.read_text("utf-8")))
    yield from table_findings(load_policy(), objects)


def kubectl() -> str:
    """Return the path of kubectl, which is fetched if the machine has none."""
    tool = ROOT / ".ci" / "debian_tool"
    done = subprocess.run([str(tool), "kubectl"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RenderingFailed(done.stderr.strip())
    return done.stdout.strip()


def _write(rendered: Mapping[str, str]) -> tuple[list[Path], list[Path]]:
    """Write the overlays; return the files with Kubernetes's own kinds, and those with others."""
    _OUTPUT.mkdir(parents=True, exist_ok=True)
    own, custom = [], []
    for overlay, text in rendered.items():
        items = parse(text).items
        foreign = [one for one in items if one["apiVersion"].startswith(_CUSTOM)]
        native = [one for one in items if one not in foreign]
        own.append(_OUTPUT / f"{overlay}.yaml")
        own[-1].write_text(yaml.safe_dump_all(native, sort_keys=False), "utf-8")
        custom.append(_OUTPUT / f"{overlay}.custom.json")
        custom[-1].write_text(json.dumps(foreign), "utf-8")
    return own, custom


def _validate(program: str, files: Sequence[Path]) -> int:
    names = [str(file) for file in (*files, *_ALONE)]
    command = [program, "--strict", "--quiet", "--kubernetes-version"]
    runs = [subprocess.run([*command, one, *names], check=False) for one in VERSIONS]
    return max(done.returncode for done in runs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
