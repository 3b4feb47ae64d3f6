"""Writes the dashboards of deploy/grafana as Grafana's JSON. `--check` compares, and fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from panels import DASHBOARDS, Dashboard, Panel

_FOLDER: Final = Path(__file__).resolve().parents[2] / "deploy" / "grafana"
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 12, 8  # Grafana's grid is 24 columns wide
_SCHEMA: Final = 39  # of Grafana 10 and later


def dashboard(page: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana imports it."""
    return {
        "uid": page.uid,
        "title": page.title,
        "tags": ["dynamodb-processor"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": _variables(page)},
        "links": [
            {
                "type": "dashboards",
                "title": "DynamoDB Processor",
                "tags": ["dynamodb-processor"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "panels": [_panel(number, panel) for number, panel in enumerate(page.panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, 2)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": _DATASOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _DATASOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
            }
            for index, query in enumerate(panel.queries)
        ],
    }


def _variables(page: Dashboard) -> list[dict[str, Any]]:
    """Return the variables that a reader may choose: data source, job, replica and table."""
    variables = [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
        },
        _label_values("job", "Job", "dynamodb_processor_ready"),
        _label_values("instance", "Replica", 'dynamodb_processor_ready{job=~"$job"}'),
    ]
    if any("$table" in query.expression for panel in page.panels for query in panel.queries):
        series = 'dynamodb_processor_reads_total{job=~"$job"}'
        variables.append(_label_values("table", "Table", series))
    return variables


def _label_values(name: str, label: str, series: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _DATASOURCE,
        "query": f"label_values({series}, {name})",
        "refresh": 2,  # whenever the time range changes
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` return 1 if one of them differs."""
    different = []
    for page in DASHBOARDS:
        file = _FOLDER / f"{page.uid.removeprefix('dynamodb-processor-')}.json"
        text = json.dumps(dashboard(page), indent=2) + "\n"
        if "--check" not in arguments:
            file.write_text(text, "utf-8")
        elif not file.exists() or file.read_text("utf-8") != text:
            different.append(file.name)
    if different:
        print(f"deploy/grafana/ differs in {', '.join(different)}: run .ci/deploy/dashboards.py")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
