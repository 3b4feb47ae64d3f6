"""The check of the overlays compares objects of several kinds."""

from __future__ import annotations

from kubernetes_check import overlay_findings
from kubernetes_objects import Objects

from tests.unit.deploy.manifests import base_objects


def test_only_development_serves_plain_text() -> None:
    """An environment with an autoscaler has TLS; one replica for development need not."""
    objects = base_objects()
    assert any("serve plain text" in finding for finding in overlay_findings(objects))
    alone = (one for one in objects.items if one["kind"] != "HorizontalPodAutoscaler")
    assert list(overlay_findings(Objects(tuple(alone)))) == []
