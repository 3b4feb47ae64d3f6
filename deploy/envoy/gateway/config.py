"""The whole configuration of Envoy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import yaml

from gateway.clusters import service_cluster
from gateway.descriptors import descriptor_set
from gateway.listeners import api_listener, static_listeners
from gateway.options import Options
from gateway.rules import Rule

_MAX_CONNECTIONS: Final = 10_000


def bootstrap(rules: Sequence[Rule], options: Options) -> dict[str, Any]:
    """Return Envoy's configuration."""
    api = api_listener(rules, descriptor_set(rules), options)
    config: dict[str, Any] = {
        "node": {"id": "gateway", "cluster": "dynamodb-processor"},
        "static_resources": {
            "listeners": [api, *static_listeners(options)],
            "clusters": [service_cluster(options)],
        },
    }
    config["overload_manager"] = {"resource_monitors": [_bound_on_connections()]}
    if options.admin is not None:
        config["admin"] = {"address": options.admin.envoy}
    return config


def _bound_on_connections() -> dict[str, Any]:
    """Return the bound on connections of callers: further ones are closed."""
    kind = "downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": f"type.googleapis.com/envoy.extensions.resource_monitors.{kind}",
            "max_active_downstream_connections": _MAX_CONNECTIONS,
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, so that the filter can be read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(config: dict[str, Any]) -> str:
    """Return a configuration as YAML."""
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
