"""What models predict, how sure they are, and whether that shifts."""

from grafana.panels import Dashboard, Panel, Variable
from grafana.queries import OVER, middle_and_high

_MODEL = Variable(name="model", label="Model", query="label_values(fornada_items_total, model)")
_VERSION = "{{model}}:{{version}}"
#: A model may have several outputs with classes.
_OUTPUT, _VERSION_AND_OUTPUT = ", output", f"{_VERSION} {{{{output}}}}"


def _by_version(series: str, *, also: str = "", over: str = OVER, by: str = "") -> str:
    """What happens in a second by model and version, of the models that are chosen."""
    return f'sum by (model, version{by}) (rate({series}{{model=~"$model"{also}}}{over}))'


def _share_of_classes(over: str) -> str:
    """The share of each class. None is 0, since the index divides by it."""
    of_class = _by_version("fornada_predicted_class_total", over=over, by=f"{_OUTPUT}, class")
    of_all = _by_version("fornada_predicted_class_total", over=over, by=_OUTPUT)
    return f"clamp_min({of_class} / on (model, version, output) group_left () {of_all}, 0.0001)"


_SURE = "fornada_prediction_confidence"
_FAILED, _AT_MOST_HALF = ', result="failed"', ', le="0.5"'
_NOW, _BEFORE = _share_of_classes("[1h]"), _share_of_classes("[1d] offset 1h")

MODELS = Dashboard(
    uid="fornada-models",
    title="Fornada: models",
    about="What models predict, how sure they are, whether that shifts, and how fast they are.",
    variables=(_MODEL,),
    span="now-24h",
    panels=(
        Panel(
            title="Items per second",
            about="By model and version.",
            unit="cps",
            stacking="normal",
            queries={_by_version("fornada_items_total"): _VERSION},
        ),
        Panel(
            title="Failed items",
            about="Share of all items.",
            unit="percentunit",
            queries={
                f"{_by_version('fornada_items_total', also=_FAILED)}"
                f" / {_by_version('fornada_items_total')}": _VERSION
            },
        ),
        Panel(
            title="Mean confidence",
            about="The largest probability of an item. A sudden change means other items, or items "
            "that are prepared differently.",
            unit="percentunit",
            maximum=1,
            queries={
                f"{_by_version(f'{_SURE}_sum', by=_OUTPUT)}"
                f" / {_by_version(f'{_SURE}_count', by=_OUTPUT)}": _VERSION_AND_OUTPUT
            },
        ),
        Panel(
            title="Unsure items",
            about="Share of items whose largest probability is at most one half.",
            unit="percentunit",
            queries={
                f"{_by_version(f'{_SURE}_bucket', also=_AT_MOST_HALF, by=_OUTPUT)}"
                f" / {_by_version(f'{_SURE}_count', by=_OUTPUT)}": _VERSION_AND_OUTPUT
            },
        ),
        Panel(
            title="Confidence",
            about="Items by their largest probability.",
            kind="heatmap",
            queries={f'sum by (le) (increase({_SURE}_bucket{{model=~"$model"}}{OVER}))': "{{le}}"},
        ),
        Panel(
            title="Predicted classes",
            about="Share of items by the class of the largest probability.",
            stacking="percent",
            queries={
                _by_version("fornada_predicted_class_total", by=f"{_OUTPUT}, class"): (
                    f"{_VERSION_AND_OUTPUT} {{{{class}}}}"
                )
            },
        ),
        Panel(
            title="Shift of classes",
            about="Population stability index: the classes of the last hour beside those of the "
            "day before. From 0.1 on look, from 0.25 on act.",
            limits=(0.1, 0.25),
            queries={
                "sum by (model, version, output) "
                f"(({_NOW} - {_BEFORE}) * ln({_NOW} / {_BEFORE}))": _VERSION_AND_OUTPUT
            },
        ),
        Panel(
            title="Time of a predict call",
            about="By model.",
            unit="s",
            queries=middle_and_high("fornada_predict_call_seconds", by="model"),
        ),
        Panel(
            title="Padding",
            about="Share of rows that only fill calls, as many small jobs make them.",
            unit="percentunit",
            maximum=1,
            width=8,
            queries={
                f"sum(rate(fornada_predict_padding_rows_total{OVER}))"
                f" / (sum(rate(fornada_predict_padding_rows_total{OVER}))"
                f" + sum(rate(fornada_predict_call_rows_sum{OVER})))": "padding"
            },
        ),
        Panel(
            title="Calls halved",
            about="How often calls of a model had fewer rows from then on, for want of GPU memory.",
            width=8,
            queries={f"sum(increase(fornada_predict_calls_halved_total{OVER}))": "halved"},
        ),
        Panel(
            title="Time to load a model",
            about="From the artifact in the store to a model that predicts. One load in twenty "
            "takes longer.",
            unit="s",
            width=8,
            queries={
                f"histogram_quantile(0.95, sum by (le) "
                f"(rate(fornada_model_load_seconds_bucket{OVER})))": "95 %"
            },
        ),
        Panel(
            title="Models in memory",
            about="How many workers have each.",
            kind="table",
            instant=True,
            width=8,
            queries={"count by (name, version, engine, sha256) (fornada_model_info == 1)": ""},
        ),
    ),
)
