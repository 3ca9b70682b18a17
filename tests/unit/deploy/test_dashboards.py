"""The dashboards: queries of metrics that exist, every metric shown, files as generated."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from fornada.metrics.instruments import INSTRUMENTS, NAMES

from .queries import flaws, names

_DEPLOY = Path(__file__).parents[3] / "deploy"
_DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in (_DEPLOY / "grafana/dashboards").glob("*.json")
}
#: Prometheus's own series of alerts.
_ALERTS = {"ALERTS": ("alertname", "alertstate", "severity")}


def _panels() -> Iterator[dict[str, Any]]:
    for dashboard in _DASHBOARDS.values():
        yield from dashboard["panels"]


def _queries() -> Iterator[tuple[str, str, str]]:
    """The panel, query and legend of each line, with values for Grafana's variables."""
    for panel in _panels():
        for target in panel.get("targets", []):
            query = re.sub(r"\[\$__\w+\]", "[5m]", target["expr"])
            yield (
                panel["title"],
                query.replace("$queue", "x").replace("$model", "x"),
                target["legendFormat"],
            )


def test_files_are_what_the_script_writes() -> None:
    checked = subprocess.run(
        [sys.executable, str(_DEPLOY / "generate.py"), "--check"], capture_output=True, text=True
    )

    assert ("", 0) == (checked.stderr, checked.returncode)
    assert {"fornada-overview", "fornada-job", "fornada-models", "fornada-servers"} == {
        dashboard["uid"] for dashboard in _DASHBOARDS.values()
    }


def test_panels_ask_for_metrics_and_labels_that_exist() -> None:
    for title, query, _ in _queries():
        assert "$" not in query, title
        assert [] == list(flaws(query, known=NAMES | _ALERTS)), title


def test_bounds_of_buckets_that_queries_name_exist() -> None:
    bounds = {f"{each.name}_bucket": {str(b) for b in each.buckets} for each in INSTRUMENTS}
    named = {
        bound
        for _, query, _ in _queries()
        for bound in re.findall(r'(\w+_bucket)\{[^}]*le="([^"]+)"', query)
    }

    assert named
    assert [] == [(series, le) for series, le in named if le not in bounds[series]]


def test_prometheus_takes_the_queries_of_panels(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    rules = [
        {"record": f"query_{number}", "expr": q} for number, (_, q, _) in enumerate(_queries())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    told = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)

    assert 0 == told.returncode, told.stderr


def test_legends_name_labels_that_the_answer_has() -> None:
    for title, query, legend in _queries():
        kept = {
            label
            for grouped in re.findall(r"by \(([^)]*)\)", query)
            for label in re.split(r",\s*", grouped)
        }
        assert set(re.findall(r"{{(\w+)}}", legend)) <= kept, title


def test_every_metric_is_on_a_dashboard() -> None:
    shown = {name for _, query, _ in _queries() for name in names(promql_parser.parse(query))}

    missing = [each.name for each in INSTRUMENTS if not shown & set(each.series)]

    assert [] == missing


def test_panels_fill_rows_without_overlapping() -> None:
    for dashboard in _DASHBOARDS.values():
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells


def test_variables_that_are_used_are_defined() -> None:
    for dashboard in _DASHBOARDS.values():
        known = {each["name"] for each in dashboard["templating"]["list"]}
        used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(dashboard["panels"])))
        assert used == known, dashboard["title"]
        asked = [each["definition"] for each in dashboard["templating"]["list"] if "multi" in each]
        for query in asked:
            series, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()  # type: ignore[union-attr] - the test fails
            assert label in NAMES[series]
