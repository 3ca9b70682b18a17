"""What a workload's rates are compared with, and the figures of the page."""

from typing import Any

from benchmarks.reporting import page
from benchmarks.reporting.comparison import rate_text, ratio_text, rows_of


def _record(**rates: float) -> dict[str, Any]:
    """A record of workload `mlp`, by contender."""
    kinds = {"fornada": "fornada", "limit": "limit", "store": "store"}
    return {
        "contenders": {
            name.replace("_", "-"): {
                "label": name,
                "kind": kinds.get(name.partition("_")[0], "peer"),
                "medians": {"workloads": {"mlp": {"rate": rate}}},
            }
            for name, rate in rates.items()
        },
        "targets": {"keras": [], "openvino": []},
    }


def test_limits_are_compared_on_their_engine_and_others_with_the_fastest() -> None:
    # given
    record = _record(
        fornada_keras=200.0,
        fornada_openvino=300.0,
        limit_keras=600.0,
        limit_openvino=300.0,
        plain=50.0,
        store_boto3=300.0,
    )

    # when
    rows = [(row.label, row.rate, row.ratio) for row in rows_of(record, "mlp")]

    # then
    assert [
        ("limit_keras", 600.0, 1 / 3),
        ("fornada_openvino", 300.0, None),
        ("limit_openvino", 300.0, 1.0),
        ("fornada_keras", 200.0, None),
        ("composed limit, keras", 200.0, 1.0),
        ("composed limit, openvino", 150.0, 2.0),
        ("plain", 50.0, 6.0),
    ] == rows


def test_peers_alone_are_compared_with_nothing() -> None:
    assert [None] == [row.ratio for row in rows_of(_record(plain=50.0), "mlp")]


def test_rates_and_ratios_have_as_many_digits_as_they_deserve() -> None:
    assert ["294 k", "11.8 k", "2,300", "15.9"] == [
        rate_text(rate) for rate in (294_049.0, 11_801.0, 2_300.4, 15.91)
    ]
    assert ["0.95", "1.86", "4.5", "288"] == [
        ratio_text(ratio) for ratio in (0.9466, 1.856, 4.456, 288.4)
    ]


def test_the_page_has_the_figures_of_the_newest_record() -> None:
    written = page.PAGE.read_text(encoding="utf-8")

    assert page.with_figures(written, page.figures_of(page.newest())) == written, (
        "run python -m benchmarks.reporting.page"
    )
