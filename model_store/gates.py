"""Gates: conditions that a model's metrics must meet before it is promoted."""

import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fornada.errors import GateNotMetError, UsageError

_OPERATORS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_GATE = re.compile(
    r"\s*(?P<metric>[A-Za-z_][A-Za-z0-9_.-]{0,127})\s*(?P<operator>>=|<=|>|<)"
    r"\s*(?P<limit>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*",
    re.ASCII,
)
#: Parts of the names of metrics where more is better; of losses and errors less is.
_MORE_IS_BETTER = (
    *("acc", "auc", "precision", "recall", "f1", "fbeta", "r2", "iou", "io_u", "similarity"),
    *("sensitivity", "specificity", "true_positives", "true_negatives"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """One condition, such as `val_accuracy>=0.85`."""

    metric: str
    operator: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> "Gate":
        """Parse `METRIC OP NUMBER`, where OP is `>=`, `<=`, `>` or `<`.

        Raises:
            UsageError: It is not written so.
        """
        match = _GATE.fullmatch(text)
        limit = float(match["limit"]) if match else math.inf
        if match is None or not math.isfinite(limit):
            raise UsageError(
                f"gate {text!r} is not METRIC OP NUMBER with OP one of >=, <=, >, <; write e.g. "
                "'val_accuracy>=0.85'"
            )
        return cls(metric=match["metric"], operator=match["operator"], limit=limit)

    def holds(self, value: float) -> bool:
        """Whether `value` passes; NaN never does."""
        return bool(_OPERATORS[self.operator](value, self.limit))

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.limit:g}"


def check_gates(
    gates: Iterable[Gate],
    metrics: Mapping[str, float],
    *,
    model: str,
    what: str = "promoted",
) -> None:
    """Check that every gate holds.

    Args:
        gates: The conditions.
        metrics: The model's, by name, as in its manifest.
        model: Its name, for the message.
        what: What is refused, for the message.

    Raises:
        GateNotMetError: At least one gate does not hold; lists all that do not.
        UsageError: The model has no such metric.
    """
    missed = []
    for gate in gates:
        if gate.metric not in metrics:
            known = ", ".join(sorted(metrics)) or "none"
            raise UsageError(f"{model} has no metric {gate.metric!r} to gate on; it has: {known}")
        value = metrics[gate.metric]
        if not gate.holds(value):
            missed.append(f"{gate.metric} is {value:.6g} and the gate is {gate}")
    if missed:
        raise GateNotMetError(
            f"{model} is not {what}: {'; '.join(missed)}; train a better model, or lower the gate"
        )


def more_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is better, judged by its name."""
    return any(part in metric.lower() for part in _MORE_IS_BETTER)
