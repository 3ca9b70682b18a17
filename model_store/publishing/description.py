"""What a `.keras` file made elsewhere takes and gives, with a golden batch; behind the wall."""

from pathlib import Path

from fornada.formats.npy import from_npy, to_npy
from fornada.memory import release_memory
from model_store.engines.artifact import activations
from model_store.engines.artifact.archive import read_config
from model_store.engines.keras_file import load_model
from model_store.engines.keras_predict import forget_dropped_models
from model_store.publishing.checked import golden_outputs, packages
from model_store.publishing.golden_items import as_items, check_golden_count, made_up_golden
from model_store.publishing.kinds import Loss
from model_store.publishing.stated import Stated
from model_store.signature import read_signature
from model_store.wall.messages import Describe, Described

#: The golden batch in the folder of a request.
GOLDEN_INPUTS, GOLDEN_OUTPUTS = "golden-inputs.npy", "golden-outputs.npy"


def describe(request: Describe) -> Described:
    """Load a file, read what it takes and gives, and predict its golden batch.

    Raises:
        ModelRefusedError: It is unsafe, Keras cannot build it, it takes or gives what is not
            supported, or it gives NaN or infinity.
        InputError: The golden items do not fit it.
        UsageError: What is stated does not fit it.
    """
    artifact, folder, where = Path(request.artifact), Path(request.folder), request.where
    golden = None
    if request.golden is not None:
        golden = from_npy(Path(request.golden).read_bytes(), where="--golden")
    stated = Stated(**request.stated)
    model = load_model(
        artifact,
        where=where,
        allowed_objects=request.allowed_objects,
        functions=activations.tensorflow_functions(),
    )
    signature = read_signature(model, where).with_dtype_of(golden)
    taken = stated.input_of(signature, where=where)
    allow_nan = stated.allows_nan_outputs
    if golden is None:
        inputs, outputs = made_up_golden(model, taken, where=where, allow_nan=allow_nan)
    else:
        inputs = as_items(golden, taken, where=where, argument="--golden")
        check_golden_count(inputs, argument="--golden")
        outputs = golden_outputs(model, inputs, where=where, allow_nan=allow_nan)
    loss = Loss.of(read_config(artifact).get("compile_config"))
    given, hint = stated.output_of(signature, model=model, outputs=outputs, loss=loss, where=where)
    (folder / GOLDEN_INPUTS).write_bytes(to_npy(inputs))
    (folder / GOLDEN_OUTPUTS).write_bytes(to_npy(outputs))
    # It would be in memory together with the one that is read back.
    del model
    forget_dropped_models()
    release_memory(collect=True)
    # Keras could not load TensorFlow's activations again; the golden batch compares what the
    # model gives with both.
    published = activations.published(artifact, folder)
    return Described(
        artifact=str(published), input=taken, output=given, hint=hint, packages=packages()
    )
