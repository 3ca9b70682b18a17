"""A first load of an artifact: it must reproduce its golden batch."""

from collections.abc import Sequence
from pathlib import Path

from fornada.errors import ModelRefusedError, ModelUnusableError
from fornada.formats.rows import Rows
from fornada.formats.tensor_file import Tensor
from model_store.engines.artifact.work import Work
from model_store.engines.golden import check_golden
from model_store.engines.interface import Engine
from model_store.golden_batch import from_golden
from model_store.wall.limits import peak_bytes
from model_store.wall.messages import Check, Passed

_TILE_ITEMS = 32


def trial_tile(work: Work) -> int:
    """Rows of a call over a golden batch: one, where it takes much memory on its way."""
    return _TILE_ITEMS if work.is_light else 1


def check(request: Check, engine: Engine) -> Passed:
    """Load an artifact, and compare what it gives with its golden batch.

    Args:
        request: Says what and where.
        engine: From `open_for_trial`.

    Raises:
        ModelRefusedError: It is unsafe, does not load, or gives something else.
        ConfigError: An allowed object cannot be imported.
    """
    model = engine.load(
        Path(request.artifact),
        where=request.where,
        takes=request.inputs,
        gives=request.outputs,
        allowed_objects=request.allowed_objects,
    )
    tile_items = trial_tile(model.work)
    compared = slice(model.work.golden_items(tile_items))
    check_golden(
        model.compile(tile_items),
        inputs=_golden(request.golden_inputs, request.inputs)[compared],
        outputs=_golden(request.golden_outputs, request.outputs)[compared],
        tile_items=tile_items,
        where=f"{request.where} on {engine.name}",
        tolerance=engine.tolerance,
        error=ModelUnusableError if engine.publishes else ModelRefusedError,
    )
    return Passed(engine=engine.name, peak_bytes=peak_bytes())


def _golden(path: str, tensors: Sequence[Tensor]) -> Rows:
    return from_golden(Path(path).read_bytes(), tensors, where=f"the golden batch ({path})")
