"""Predictions without a job: what is asked of a model, and what it gave."""

from collections.abc import Mapping

from fornada.errors import UsageError
from model_store.manifest import ModelManifest
from producer.calls.call import Call, Expected
from producer.calls.outputs import CallResult, OnErrors
from producer.calls.predict_calls import PredictCalls
from producer.inputs.data.calls import CallItems, call_items
from producer.inputs.interface import Inputs, Signature
from producer.inputs.tables.interface import Columns
from producer.options import check_seconds, check_text
from producer.submitting.resolver import RecentModels


class Predictions:
    """Asks workers to predict. Safe to share between threads and event loops.

    Args:
        models: The models as they were a moment ago.
        calls: Carries calls and answers.
    """

    def __init__(self, *, models: RecentModels, calls: PredictCalls) -> None:
        self.models = models
        self._calls = calls

    def predict(
        self,
        inputs: Inputs,
        *,
        model: str,
        timeout_s: float,
        columns: Mapping[str, Columns] | None,
    ) -> CallResult:
        """Predict items, as `Client.predict`; waits for the answer.

        Raises:
            FornadaError: As `Client.predict`.
        """
        check_text(model, "model")
        manifest = self.models.resolve(model)
        items = call_items(inputs, Signature.of(manifest), columns=columns)
        check_seconds(timeout_s, "timeout_s")
        answer = None
        if items.columns:
            answer = self._calls.predict(
                items.columns, manifest.inputs, manifest.pin, timeout_s=float(timeout_s)
            )
        return CallResult.of(answer, items, model=manifest)

    def begin(
        self, items: CallItems, manifest: ModelManifest, *, timeout_s: float, expected: Expected
    ) -> Call:
        """Ask for the answer to items, some of which can be sent; blocks for nothing.

        Raises:
            UsageError: They are too many, `timeout_s` is out of range, or the client is closed.
        """
        return self._calls.begin(
            items.columns, manifest.inputs, manifest.pin, timeout_s=timeout_s, expected=expected
        )

    def forget(self, call: Call) -> None:
        """Wait no more for an answer."""
        self._calls.forget(call)

    def waiting_count(self) -> int:
        """Calls that no worker has taken yet.

        Raises:
            BrokerError: Redis cannot be reached.
        """
        return self._calls.waiting_count()

    def close(self) -> None:
        """Fail the calls that wait, and end the threads."""
        self._calls.close()


def check_on_errors(errors: OnErrors) -> None:
    """Check what a caller gives as `errors`.

    Raises:
        UsageError: It is neither `raise` nor `nan`.
    """
    if errors not in ("raise", "nan"):
        raise UsageError(f"errors is {errors!r}; give 'raise' or 'nan'")
