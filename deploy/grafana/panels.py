"""Grafana's JSON of dashboards and panels, as far as these dashboards need it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: A dashboard is 24 units wide.
_WIDTH = 24
_SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel with its queries, each with the text of its legend."""

    title: str
    about: str
    queries: dict[str, str] = field(default_factory=dict)
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    #: `normal` adds the series up, `percent` shows their shares.
    stacking: str = "none"
    #: From which value on a number is yellow, and red.
    limits: tuple[float, float] | None = None
    maximum: float | None = None
    #: Only the values now, or of the whole time that is shown.
    instant: bool = False
    text: str | None = None

    def to_json(self, number: int, *, x: int, y: int) -> dict[str, Any]:
        """The panel at a place."""
        place = {"x": x, "y": y, "w": self.width, "h": self.height}
        head = {"id": number, "type": self.kind, "title": self.title, "gridPos": place}
        if self.text is not None:
            return {**head, "options": {"mode": "markdown", "content": self.text}}
        return {
            **head,
            "description": self.about,
            "datasource": _SOURCE,
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
            "targets": [
                self._target(letter, query, legend)
                for letter, (query, legend) in zip("ABCDEF", self.queries.items(), strict=False)
            ],
        }

    def _target(self, letter: str, query: str, legend: str) -> dict[str, Any]:
        target = {"refId": letter, "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        if self.instant:
            target |= {"instant": True, "range": False}
        if self.kind == "table":
            target |= {"format": "table"}
        elif self.kind == "heatmap":
            target |= {"format": "heatmap"}
        return target

    def _defaults(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {"unit": self.unit, "min": 0}
        if self.maximum is not None:
            defaults["max"] = self.maximum
        if self.kind == "timeseries":
            defaults["custom"] = {
                "stacking": {"mode": self.stacking},
                "fillOpacity": 0 if self.stacking == "none" else 40,
                # Where nothing was scraped, there is no line.
                "spanNulls": False,
            }
        if self.limits is not None:
            colours: list[tuple[str, float | None]] = [("green", None)]
            colours += zip(("yellow", "red"), self.limits, strict=True)
            steps = [{"color": colour, "value": value} for colour, value in colours]
            defaults |= {
                "thresholds": {"mode": "absolute", "steps": steps},
                "color": {"mode": "thresholds"},
            }
        return defaults

    def _options(self) -> dict[str, Any]:
        if self.kind == "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom"},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        if self.kind == "heatmap":
            return {"calculate": False, "yAxis": {"unit": self.unit}}
        if self.kind in {"stat", "bargauge"}:
            return {"reduceOptions": {"calcs": ["lastNotNull"]}, "orientation": "horizontal"}
        return {}


@dataclass(frozen=True, kw_only=True)
class Variable:
    """What the reader of a dashboard chooses: values of a label, or a text."""

    name: str
    label: str
    #: `label_values(series, label)`; none for a text.
    query: str | None = None
    default: str = ""

    def to_json(self) -> dict[str, Any]:
        """The variable."""
        head = {"name": self.name, "label": self.label}
        if self.query is None:
            value = {"text": self.default, "value": self.default}
            return {**head, "type": "textbox", "query": self.default, "current": value}
        return {
            **head,
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": self.query, "refId": self.name},
            "definition": self.query,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            # Also where there are no values.
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A dashboard: rows of panels, each 24 units wide."""

    uid: str
    title: str
    about: str
    panels: Sequence[Panel]
    variables: Sequence[Variable] = ()
    span: str = "now-6h"

    def to_json(self) -> dict[str, Any]:
        """The dashboard, as Grafana's provisioning and import take it."""
        source = {"name": "source", "label": "Prometheus", "type": "datasource"}
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["fornada"],
            "schemaVersion": 39,
            "editable": True,
            "graphTooltip": 1,
            "time": {"from": self.span, "to": "now"},
            "refresh": "30s",
            "links": [
                {
                    "type": "dashboards",
                    "title": "Fornada",
                    "tags": ["fornada"],
                    "asDropdown": True,
                    "keepTime": True,
                }
            ],
            "templating": {
                "list": [
                    {**source, "query": "prometheus"},
                    *(variable.to_json() for variable in self.variables),
                ]
            },
            "panels": self._placed(),
        }

    def _placed(self) -> list[dict[str, Any]]:
        placed = []
        x = y = tallest = 0
        for number, panel in enumerate(self.panels, start=1):
            if x + panel.width > _WIDTH:
                x, y, tallest = 0, y + tallest, 0
            placed.append(panel.to_json(number, x=x, y=y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        return placed
