"""Targets: ratios of medians within one run, judged against floor and aim."""

from typing import Any

import pytest

from benchmarks.reporting.targets import Target, composed_limit, figure, judged, targets_of


def _medians(**rates: dict[str, float]) -> dict[str, Any]:
    return {
        name.replace("_", "-"): {
            "service_rss_mib": 600.0,
            "workloads": {workload: {"rate": rate} for workload, rate in by_workload.items()},
        }
        for name, by_workload in rates.items()
    }


def test_composed_limit_takes_both_times_for_every_item() -> None:
    assert composed_limit(600.0, 300.0) == pytest.approx(200.0)


@pytest.mark.parametrize(
    ("value", "floor", "aim", "verdict"),
    [
        (1.5, 1.0, 1.5, "aim"),
        (1.4, 1.0, 1.5, "pass"),
        (0.9, 1.0, 1.5, "FAIL"),
        (5.0, 12.0, 5.0, "aim"),
        (12.0, 12.0, 5.0, "pass"),
        (12.1, 12.0, 5.0, "FAIL"),
        (float("nan"), 1.0, 1.5, "FAIL"),
    ],
)
def test_verdict_names_the_target_that_was_reached(
    value: float, floor: float, aim: float, verdict: str
) -> None:
    # given
    target = Target(name="t", unit="x", floor=floor, aim=aim, value=lambda _medians: value)

    # then
    assert verdict == judged(target, {}).verdict


def test_predict_is_compared_with_the_fastest_server() -> None:
    # given
    medians = _medians(
        fornada_keras={"predict": 1800.0},
        litserve={"predict": 600.0},
        bentoml={"predict": 400.0},
        mlserver={"predict": 900.0},
    )

    # when
    found = {t.name: judged(t, medians) for t in targets_of("keras")}

    # then
    assert 2.0 == found["predict / fastest of LitServe, BentoML, MLServer"].value


def test_a_missing_figure_is_reported_and_is_no_failure() -> None:
    # when
    verdicts = [judged(target, _medians(fornada_keras={})) for target in targets_of("keras")]

    # then
    unmeasured = [v for v in verdicts if v.value is None]
    assert len(verdicts) - 1 == len(unmeasured)
    assert all(v.verdict.startswith("not measured: ") for v in unmeasured)


def test_figure_is_found_by_contender_workload_and_name() -> None:
    assert 7.0 == figure(_medians(plain={"mlp": 7.0}), "plain", "mlp")
