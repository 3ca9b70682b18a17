"""Whether a model that was trained is published: by gates, and by comparison with what is there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fornada.errors import ModelNotFoundError, NotBetterError, UsageError
from model_store.gates import Gate, check_gates
from model_store.manifest import ModelRef
from model_store.store import ModelStore
from trainer.recipes.plan import TrainingPlan, metric_names

#: Metrics of which more is better; of all others, losses and errors, less is.
_MORE_IS_BETTER = (
    *("acc", "auc", "precision", "recall", "f1", "fbeta", "r2", "iou", "io_u", "similarity"),
    *("sensitivity", "specificity", "true_positives", "true_negatives"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Acceptance:
    """What a model has to be like to be published."""

    gates: Sequence[Gate] = ()
    #: It must be better than the version that the alias points at, or else the newest one, on its
    #: first metric over the test split.
    only_if_better: bool = False

    def check_names(self, plan: TrainingPlan) -> None:
        """Check before the training that the gates' metrics will be there.

        Raises:
            UsageError: One will not.
        """
        known = metric_names(plan)
        for gate in self.gates:
            if gate.metric not in known:
                raise UsageError(
                    f"the training will have no metric {gate.metric!r} to gate on; it will have: "
                    f"{', '.join(sorted(known))}"
                )

    def check(
        self, metrics: Mapping[str, float], *, name: str, alias: str | None, models: ModelStore
    ) -> None:
        """Check that the model is good enough to be the next version of `name`.

        Raises:
            GateNotMetError: A gate does not hold.
            NotBetterError: It is no better than the one that is there.
            UsageError: It has no such metric.
            StoreError: The store cannot be reached.
        """
        model = f"the new {name}"
        check_gates(self.gates, metrics, model=model, what="published")
        if self.only_if_better:
            self._check_better(metrics, name=name, alias=alias, models=models)

    def _check_better(
        self, metrics: Mapping[str, float], *, name: str, alias: str | None, models: ModelStore
    ) -> None:
        try:
            held = models.resolve(ModelRef(name=name, alias=alias))
        except ModelNotFoundError:
            return
        metric = deciding_metric(metrics)
        if metric not in held.metrics:
            raise UsageError(
                f"{held} has no metric {metric!r} to compare with; train without "
                "--register-only-if-better once"
            )
        new, old = metrics[metric], held.metrics[metric]
        if not (new > old if more_is_better(metric) else new < old):
            raise NotBetterError(
                f"the new {name} is not published: its {metric} is {new:.6g}, no better than the "
                f"{old:.6g} of {held}; train longer or otherwise, or leave out "
                "--register-only-if-better"
            )


def deciding_metric(metrics: Collection[str]) -> str:
    """The first metric over the test split that is no loss, or the loss."""
    tested = [name for name in metrics if name.startswith("test_") and name != "test_loss"]
    return tested[0] if tested else "test_loss"


def more_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is a better one, by its name."""
    return any(part in metric.lower() for part in _MORE_IS_BETTER)
