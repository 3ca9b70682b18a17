"""MLServer's side of its contender: the model as a runtime."""

from typing import Any

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks import contract


class Runtime(MLModel):  # type: ignore[misc]  # installed in its own environment
    """Uint8 [items, 28, 28] → float32 [items, classes]."""

    async def load(self) -> bool:
        """Load and warm the model."""
        self._model = contract.load_model(self.settings.parameters.uri)
        self._model.predict_on_batch(np.zeros((1, 28, 28), np.uint8))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer the calls that MLServer has batched."""
        images = NumpyCodec.decode_input(payload.inputs[0])
        found: Any = self._model.predict_on_batch(images.astype(np.uint8, copy=False))
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("outputs", found)]
        )
