"""`PublishModel`: a Keras callback that publishes the best epoch when training ends."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fornada.errors import UsageError
from fornada.tensors import Kind
from model_store.engines.keras_setup import import_keras
from model_store.gates import more_is_better
from model_store.images import ImageOptions
from model_store.manifest import ModelManifest
from model_store.publishing.script import Publication, store_or_default
from model_store.publishing.stated import Side, Stated
from model_store.store import ModelStore


class PublishModel(import_keras().callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Publish the weights of the best epoch as the next version of model `name`.

    `model.fit(…, callbacks=[PublishModel(name="fashion-mnist", test=(x_test, y_test))])`. The
    store is checked before the first epoch, model and test items after it. The model keeps the
    weights that training left it.

    Args:
        name: The model's name in the store.
        monitor: The metric that decides, of those that Keras logs; by default `val_loss`, or
            `loss` without validation items. Its name tells whether
            more is better, as of `accuracy`, or less.
        classes: As for `publish`, and so are the others.
        kind: What the output is.
        threshold: Probability from which a class applies.
        image: How image files become items.
        fill: Replaces NaN and null in items.
        allow_nan: Where NaN and infinity are allowed.
        test: Items and targets that the model is not fitted on.
        golden: Items of the golden batch.
        promote: An alias to point at the new version.
        store: Where to publish.

    Attributes:
        manifest: The new version, once training has ended.
    """

    def __init__(
        self,
        *,
        name: str,
        monitor: str | None = None,
        classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        kind: Kind | Mapping[str, Kind] | None = None,
        threshold: float | Mapping[str, float] | None = None,
        image: ImageOptions | None = None,
        fill: float | None = None,
        allow_nan: Collection[Side] = (),
        test: tuple[Any, Any] | None = None,
        golden: Any = None,
        promote: str | None = None,
        store: ModelStore | None = None,
    ) -> None:
        super().__init__()
        self.manifest: ModelManifest | None = None
        self._publication = Publication(
            name=name,
            stated=Stated(
                kind=kind,
                classes=classes,
                threshold=threshold,
                image=image,
                fill=fill,
                allow_nan=allow_nan,
            ),
            test=test,
            golden=golden,
            promote=promote,
        )
        self._publication.check_names()
        self._monitor, self._given_store = monitor, store
        self._best: _Best | None = None
        self._history: dict[str, list[Any]] = {}
        self._epoch_count = 0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras's
        """Check the store, before hours of training."""
        self._best, self._history, self._epoch_count = None, {}, 0
        self._models = store_or_default(self._given_store)
        self._models.versions(self._publication.name)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Keep the weights if they are the best so far."""
        logs = logs or {}
        if self._epoch_count == 0:
            self._publication.check(self.model)
        self._epoch_count += 1
        for name, value in logs.items():
            self._history.setdefault(name, []).append(value)
        # Keras may validate only every few epochs.
        metric = self._monitor or ("val_loss" if "val_loss" in self._history else "loss")
        if metric in logs:
            self._compare(metric, float(logs[metric]))
        elif not metric.startswith("val_"):
            raise self._not_logged(metric)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras's
        """Publish the best weights."""
        best, last = self._best, self.model.get_weights()
        if best is None:
            raise self._not_logged(self._monitor or "loss")
        self.model.set_weights(best.weights)
        try:
            self.manifest = self._publication.publish(
                self.model,
                history=self._history,
                best_epoch=best.epoch if best.epoch < self._epoch_count else None,
                models=self._models,
            )
        finally:
            self.model.set_weights(last)
            self._best = None

    def _compare(self, metric: str, value: float) -> None:
        cost = math.inf if math.isnan(value) else -value if more_is_better(metric) else value
        best = self._best
        if best is None or best.metric != metric or cost < best.cost:
            self._best = _Best(
                metric=metric,
                cost=cost,
                epoch=self._epoch_count,
                weights=self.model.get_weights(),
            )

    def _not_logged(self, metric: str) -> UsageError:
        names = ", ".join(sorted(self._history)) or "nothing, in no epoch"
        return UsageError(f"Keras logs no {metric!r} to find the best epoch by; it logs: {names}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Best:
    """The best epoch so far."""

    metric: str
    #: The metric's value, negative where more is better.
    cost: float
    #: From 1.
    epoch: int
    weights: list[Any]
