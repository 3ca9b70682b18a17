"""What the models of photographs take and give."""

from benchmarks.photos.workloads import CLASS_COUNT, SIDES
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor


def tensors_of(model: str) -> tuple[InputTensor, OutputTensor]:
    """What the model takes and gives."""
    side = SIDES[model]
    taken = InputTensor(
        name="photo", dtype="float32", shape=[side, side, 3], image=ImagePreprocessing()
    )
    classes = [str(number) for number in range(CLASS_COUNT)]
    given = OutputTensor(
        name="classes", shape=[len(classes)], kind="probabilities", classes=classes
    )
    return taken, given
