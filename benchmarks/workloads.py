"""The workloads and their sizes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.photos import workloads as photos


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One kind of work, the same for every contender that does it."""

    #: The model, as in `measuring.models`.
    model: str
    #: What is done, for tables.
    about: str
    #: What its panel of the chart is called; `None`: it has none.
    title: str | None = None
    #: What a rate counts.
    unit: str = "images/s"
    #: Whether its objects are Parquet of rows to score, and its outputs any such files.
    is_table: bool = False


WORKLOADS = {
    "mlp": Workload(
        model="mlp",
        about="objects of 28x28 images, Fashion-MNIST network, store to store",
        title="Small network",
    ),
    "cnn": Workload(
        model="cnn",
        about="objects of 32x32x3 images, CIFAR network, store to store",
        title="Convolutions",
    ),
    "resnet": Workload(
        model="resnet",
        about="objects of 224x224x3 images, ResNet50, store to store",
        title="ResNet50",
    ),
    "table": Workload(
        model="table",
        about="Parquet of 12 columns and a key, network with embeddings, store to store",
        title="Rows of a table",
        unit="rows/s",
        is_table=True,
    ),
    "photos": Workload(
        model=photos.MODELS["photos"],
        about="JPEG objects of 300 to 1,600 pixels, MobileNetV2, store to store",
        title="Photographs, MobileNetV2",
    ),
    "photos-tar": Workload(
        model=photos.MODELS["photos-tar"], about="the same photographs in tar archives"
    ),
    "photos-parquet": Workload(
        model=photos.MODELS["photos-parquet"], about="the same photographs in Parquet tables"
    ),
    "photos-cnn": Workload(
        model=photos.MODELS["photos-cnn"],
        about="the same photographs, CIFAR network, store to store",
        title="Photographs, small network",
    ),
    "predict": Workload(
        model="mlp",
        about="one image a call, 64 callers, answers in hand",
        title="Calls",
        unit="answers/s",
    ),
    "submit": Workload(
        model="mlp",
        about="one image a durable job, one client process",
        title="Jobs of one image",
        unit="jobs/s",
    ),
    "shards": Workload(
        model="empty",
        about="one-item shards of an empty model, one thread",
        unit="shards/s",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much work a run does."""

    #: By workload over stored objects: their number, and the items in each.
    objects: Mapping[str, tuple[int, int]]
    #: By workload of single items: the number of calls or jobs.
    calls: Mapping[str, int]
    #: The number of photographs.
    photos: int = 0
    rounds: int
    #: A round repeats a workload until either is reached.
    pass_s: float
    most_passes: int

    def items(self, workload: str) -> int:
        """The number of items of a workload, each once."""
        count, items = self.objects.get(workload, (0, 0))
        return self.calls.get(workload, count * items)

    def items_of_model(self, model: str) -> int:
        """The number of items that a model needs in memory."""
        if model in photos.SIDES:
            return min(photos.ENGINE_ITEMS, self.photos)
        return max((self.items(n) for n, w in WORKLOADS.items() if w.model == model), default=0)

    def to_json(self) -> dict[str, Any]:
        """As in the record."""
        return asdict(self)


FULL = Sizes(
    objects={
        "mlp": (20, 10_000),
        "cnn": (20, 1_000),
        "resnet": (8, 16),
        "table": (8, 50_000),
    },
    calls={"predict": 5_000, "submit": 2_000, "shards": 300},
    photos=2_000,
    rounds=3,
    pass_s=2.5,
    most_passes=10,
)
QUICK = Sizes(
    objects={"mlp": (20, 2_000), "cnn": (4, 500), "resnet": (2, 4), "table": (2, 10_000)},
    calls={"predict": 1_000, "submit": 200, "shards": 100},
    photos=100,
    rounds=1,
    pass_s=0.0,
    most_passes=1,
)
