"""Whether a trained model may be published: gates, and comparison with the current version."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fornada.errors import ModelNotFoundError, NotBetterError, UsageError
from model_store.gates import Gate, check_gates, more_is_better
from model_store.manifest import ModelRef
from model_store.store import ModelStore
from trainer.recipes.plan import TrainingPlan, metric_names


@dataclass(frozen=True, kw_only=True, slots=True)
class Acceptance:
    """Conditions that a model must meet to be published."""

    gates: Sequence[Gate] = ()
    #: Must beat the alias's version, or else the newest, on its first metric over the test split.
    only_if_better: bool = False

    def check_names(self, plan: TrainingPlan) -> None:
        """Check before training that it yields the metrics of all gates.

        Raises:
            UsageError: It does not.
        """
        known = metric_names(plan)
        for gate in self.gates:
            if gate.metric not in known:
                raise UsageError(
                    f"the training yields no metric {gate.metric!r} to gate on; it yields: "
                    f"{', '.join(sorted(known))}"
                )

    def check(
        self, metrics: Mapping[str, float], *, name: str, alias: str | None, models: ModelStore
    ) -> None:
        """Check that the model is good enough to be the next version of `name`.

        Raises:
            GateNotMetError: A gate does not hold.
            NotBetterError: It is no better than the current version.
            UsageError: The current version lacks the metric.
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
            current = models.resolve(ModelRef(name=name, alias=alias))
        except ModelNotFoundError:
            return
        metric = deciding_metric(metrics)
        if metric not in current.metrics:
            raise UsageError(
                f"{current} has no metric {metric!r} to compare with; train without "
                "--register-only-if-better once"
            )
        new, old = metrics[metric], current.metrics[metric]
        if not (new > old if more_is_better(metric) else new < old):
            raise NotBetterError(
                f"the new {name} is not published: its {metric} is {new:.6g}, no better than the "
                f"{old:.6g} of {current}; train it differently, or leave out "
                "--register-only-if-better"
            )


def deciding_metric(metrics: Collection[str]) -> str:
    """The first metric over the test split other than the loss, or else the loss."""
    tested = [name for name in metrics if name.startswith("test_") and name != "test_loss"]
    return tested[0] if tested else "test_loss"
