"""What a `.keras` file made elsewhere takes and gives, with a golden batch; behind the wall."""

from pathlib import Path

from fornada.memory import release_memory
from model_store.engines.artifact import activations, compile_state
from model_store.engines.artifact.archive import read_config
from model_store.engines.keras_file import load_model
from model_store.golden_batch import write_golden
from model_store.publishing.checked import golden_outputs, packages
from model_store.publishing.golden_items import (
    as_items,
    check_golden_count,
    made_up_golden,
    read_arrays,
)
from model_store.publishing.keras_backend import forget_dropped_models
from model_store.publishing.kinds import Loss
from model_store.publishing.stated import Stated
from model_store.signature import Signature, read_signature
from model_store.wall.messages import Describe, Described

#: The golden batch in the folder of a request.
GOLDEN_INPUTS, GOLDEN_OUTPUTS = "golden-inputs", "golden-outputs"


def describe(request: Describe) -> Described:
    """Load a file, read what it takes and gives, and predict its golden batch.

    Raises:
        ModelRefusedError: It is unsafe, Keras cannot build it, it takes or gives what is not
            supported, or it gives NaN or infinity.
        InputError: The golden items do not fit it.
        UsageError: What is stated does not fit it.
    """
    artifact, folder, where = Path(request.artifact), Path(request.folder), request.where
    golden = None if request.golden is None else read_arrays(Path(request.golden))
    stated = Stated(**request.stated)
    named = compile_state.named_alone(artifact, folder, where=where)
    functions, allowed = activations.saved_functions(), request.allowed_objects
    model = load_model(named, where=where, allowed_objects=allowed, functions=functions)
    signature = read_signature(model, where)
    takes = stated.inputs_of(signature, where=where)
    allow_nan = stated.allows_nan_outputs
    if golden is None:
        inputs, outputs = made_up_golden(model, takes, where=where, allow_nan=allow_nan)
    else:
        signature = signature.with_dtypes_of(golden)
        takes = stated.inputs_of(signature, where=where)
        inputs = as_items(golden, takes, where=where, argument="--golden")
        check_golden_count(inputs, argument="--golden")
        outputs = golden_outputs(model, inputs, takes=takes, where=where, allow_nan=allow_nan)
    losses = _losses(artifact, signature)
    gives = stated.outputs_of(signature, model=model, outputs=outputs, losses=losses, where=where)
    tensors = [given.tensor for given in gives]
    write_golden(folder / GOLDEN_INPUTS, inputs, takes)
    write_golden(folder / GOLDEN_OUTPUTS, outputs, tensors)
    # It would be in memory together with the one that is read back.
    del model
    forget_dropped_models()
    release_memory(collect=True)
    # Keras could not load TensorFlow's activations again; the golden batch compares what the
    # model gives with both.
    return Described(
        artifact=str(activations.published(named, folder)),
        inputs=takes,
        outputs=tensors,
        hints={given.tensor.name: given.hint for given in gives if given.hint is not None},
        dropped=None if named is artifact else compile_state.DROPPED,
        packages=packages(),
    )


def _losses(artifact: Path, signature: Signature) -> list[Loss]:
    """What the file was compiled with, for each output."""
    compile_config = read_config(artifact).get("compile_config")
    return [
        Loss.of(compile_config, output=given.name, number=number)
        for number, given in enumerate(signature.outputs)
    ]
