"""The workloads and their sizes."""

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.photos import workloads as photos

#: Models by workload.
MODELS = {
    "mlp": "mlp",
    "cnn": "cnn",
    **photos.MODELS,
    "predict": "mlp",
    "submit": "mlp",
    "shards": "empty",
}

WORKLOADS = {
    "mlp": "objects of 28x28 images, Fashion-MNIST network, store to store",
    "cnn": "objects of 32x32x3 images, CIFAR network, store to store",
    **photos.WORKLOADS,
    "predict": "one image a call, 64 callers, answers in hand",
    "submit": "one image a durable job, one client process",
    "shards": "one-item shards of an empty model, one thread",
}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much work a run does."""

    mlp_objects: int
    mlp_items: int
    cnn_objects: int
    cnn_items: int
    photos: int = 0
    predict_calls: int
    submissions: int
    shards: int
    rounds: int
    #: A round repeats a workload until either is reached.
    pass_s: float
    most_passes: int

    def objects(self, model: str) -> tuple[int, int]:
        """The number of the model's input objects, and of items in each."""
        by_model = {
            "mlp": (self.mlp_objects, self.mlp_items),
            "cnn": (self.cnn_objects, self.cnn_items),
        }
        return by_model.get(model, (0, 0))

    def calls(self, workload: str) -> int:
        """The number of one-image submissions of the workload."""
        by_workload = {
            "predict": self.predict_calls,
            "submit": self.submissions,
            "shards": self.shards,
        }
        return by_workload.get(workload, 0)

    def images(self, model: str) -> int:
        """The number of images of the model."""
        if model in photos.SIDES:
            return min(photos.ENGINE_ITEMS, self.photos)
        objects, items = self.objects(model)
        calls = [self.calls(name) for name in WORKLOADS if MODELS[name] == model]
        return max(objects * items, *calls, 0)

    def to_json(self) -> dict[str, Any]:
        """As in the record."""
        return asdict(self)


FULL = Sizes(
    mlp_objects=20,
    mlp_items=10_000,
    cnn_objects=20,
    cnn_items=1_000,
    photos=2_000,
    predict_calls=5_000,
    submissions=2_000,
    shards=300,
    rounds=3,
    pass_s=3.0,
    most_passes=10,
)
QUICK = Sizes(
    mlp_objects=20,
    mlp_items=2_000,
    cnn_objects=4,
    cnn_items=500,
    photos=100,
    predict_calls=1_000,
    submissions=200,
    shards=100,
    rounds=1,
    pass_s=0.0,
    most_passes=1,
)
