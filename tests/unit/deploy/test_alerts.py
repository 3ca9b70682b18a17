"""The alerts: promtool's cases, metrics that exist, and a page that says what to do."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fornada.jobs.manifest import DEFAULT_TIME_TO_END
from fornada.metrics.instruments import NAMES

from .commands import check_command, commands_in
from .queries import flaws

_ROOT = Path(__file__).parents[3]
_CASES = sorted(Path(__file__).parent.glob("*.test.yml"))
_RULES: list[dict[str, Any]] = yaml.safe_load((_ROOT / "deploy/prometheus/rules.yml").read_text())[
    "groups"
][0]["rules"]
_ALERTS = {rule["alert"]: rule for rule in _RULES if "alert" in rule}


def test_alerts_fire_when_they_have_to_and_not_otherwise() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    told = subprocess.run(
        ["promtool", "test", "rules", *_CASES], capture_output=True, text=True, check=False
    )
    assert 0 == told.returncode, told.stdout + told.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases = [
        case
        for path in _CASES
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
    ]
    for fires in (True, False):
        assert set(_ALERTS) == {
            case["alertname"] for case in cases if bool(case.get("exp_alerts")) == fires
        }


def test_rules_ask_for_metrics_and_labels_that_exist() -> None:
    recorded = {rule["record"]: ("queue",) for rule in _RULES if "record" in rule}
    assert all(name.startswith("queue:") for name in recorded)

    found = [flaw for rule in _RULES for flaw in flaws(rule["expr"], known=NAMES | recorded)]

    assert [] == found


def test_every_alert_has_a_section_that_says_what_to_do() -> None:
    page = (_ROOT / "docs/operations/alerts.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))

    assert list(_ALERTS) == list(sections)
    for name, section in sections.items():
        assert all(f"**{word}" in section for word in ("It means", "Look", "Do")), name
        alert = _ALERTS[name]
        assert f"docs/operations/alerts.md#{name.lower()}" == alert["annotations"]["runbook_url"]
        row = re.search(rf"^\| \[{name}\].*\| (\w+) \|", page, re.MULTILINE)
        assert row is not None
        assert alert["labels"]["severity"] == row[1]


def test_the_oldest_shard_is_told_of_at_half_of_the_time_that_a_job_has() -> None:
    half_s = DEFAULT_TIME_TO_END.total_seconds() / 2

    assert _ALERTS["FornadaOldestShard"]["expr"].endswith(f"> {half_s:.0f}")


def test_the_pages_of_operators_name_commands_that_exist() -> None:
    for page in ("alerts.md", "kubernetes.md"):
        commands = list(commands_in(_ROOT / "docs/operations" / page))
        assert commands, page
        for command in commands:
            check_command(command)
