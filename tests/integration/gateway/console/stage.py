"""A deployment in memory as people have them: real pictures, several models, jobs in all states."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from fornada.calls.frames import RequestFrame
from fornada.coordination.interface import Claim
from fornada.coordination.worker_board.interface import WorkerReport
from fornada.figures.predictions import predicted_by
from fornada.figures.reference import Reference
from fornada.formats.rows import blank_rows
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.queue.message import ShardMessage
from fornada.records import now
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import InputTensor, OutputTensor, default_image
from fornada.testing import InMemoryCoordination
from model_store.manifest import ModelDraft, Training
from model_store.store import ModelStore
from producer.client import Client
from producer.submitting.submission import Options, Submission
from producer.testing import InlineWorker, _InlineChannel, _Model

from ....photos import make_photos

CLASSES = [
    *("zero", "one", "two", "three", "four"),
    *("five", "six", "seven", "eight", "nine"),
]
REPORT = b"<!doctype html><html lang=en><title>digits</title><h1>Training report</h1></html>"


class Stage:
    """The deployment; `submit` runs a job at once unless its model is on hold."""

    def __init__(self) -> None:
        self.objects = InMemoryObjectStore()
        self.coordination = InMemoryCoordination()
        self.models = ModelStore(objects=self.objects)
        self.jobs = _Timed(objects=self.objects)
        self._models: dict[str, _Model] = {}
        self.on_hold: set[str] = set()
        self.waiting: list[ShardMessage] = []
        self.client = Client(
            objects=self.objects,
            coordination=self.coordination,
            sender=self,
            settings=Settings(),
            channel=_Channel(self._models),
        )

    def publish(self, draft: ModelDraft, answer: Any, files: Mapping[str, bytes]) -> None:
        """Publish a function as the next version of a model."""
        model = _Model(takes=draft.inputs, gives=draft.outputs, answer=answer)
        golden = blank_rows(
            1,
            [[side or 8 for side in t.shape] for t in draft.inputs],
            [t.numpy_dtype for t in draft.inputs],
        )
        manifest = self.models.publish(
            draft,
            artifact=f"{draft.name} {len(self.models.versions(draft.name)) + 1}".encode(),
            golden_inputs=golden,
            golden_outputs=model._computed(golden),
            files=files,
            check=lambda _: None,
        )
        self._models[manifest.digest] = model

    def submit(self, inputs: Any, *, owner: str = "shop", **options: Any) -> str:
        """Submit a job; its id."""
        given = {n: options.pop(n) for n in ("item_ids", "tags", "idempotency_key") if n in options}
        (job,) = self.client.submit_with(
            [Submission(inputs=inputs, **given)], Options(owner=owner, **options)
        )
        return job.id

    def enqueue(
        self,
        messages: Iterable[ShardMessage],
        *,
        together: int = 1,
        traces: Mapping[str, str] | None = None,
    ) -> None:
        """Run shards, or keep them."""
        for message in messages:
            manifest = self.jobs.manifest(message.job_id)
            if manifest.model.name in self.on_hold:
                self.waiting.append(message)
            else:
                self.run(message)

    def reserved(self) -> set[ShardMessage]:
        """Nothing: there are no workers."""
        return set()

    def run(self, message: ShardMessage) -> None:
        """Compute a shard that waits, as a worker does."""
        model = self._models[self.jobs.manifest(message.job_id).model.sha256]
        worker = InlineWorker(jobs=self.jobs, coordination=self.coordination, predict=model.predict)
        worker._run(message)

    def begin(self, messages: Sequence[ShardMessage]) -> None:
        """Begin shards that wait, and leave them running."""
        claims = [Claim(each.job_id, each.shard, f"attempt-{each.shard}") for each in messages]
        self.coordination.begin(claims, lease_s=600)


class _Timed(JobStore):
    """Writes outcomes as workers do, which say what took how long."""

    @lru_cache(maxsize=32)  # noqa: B019 - lives as long as the tests
    def manifest(self, job_id: str) -> JobManifest:
        return super().manifest(job_id)

    def commit(self, outcome: ShardOutcome, *, no_other_writer: bool = False) -> ShardOutcome:
        took = {"fetch_s": 0.012, "decode_s": 0.004, "predict_s": 0.031, "upload_s": 0.009}
        who = {"worker": f"worker-{outcome.shard % 2 + 1}:4711", "engine": "keras 3.15.1"}
        began_at = outcome.committed_at - timedelta(seconds=sum(took.values()))
        update = {**took, **who, "tile_items": 64, "began_at": began_at}
        return super().commit(outcome.model_copy(update=update), no_other_writer=no_other_writer)


class _Channel(_InlineChannel):
    """Calls of `predict` of any of the models."""

    def __init__(self, models: Mapping[str, _Model]) -> None:
        super().__init__(None)
        self._models = models

    def ask(self, queue: str, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self._model = self._models[RequestFrame.parse(frame).header.model.sha256]
            super().ask(queue, [frame])


@cache
def digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Real pictures of digits, uint8 [600, 28, 28], and their classes."""
    found = load_digits()
    pictures = [
        Image.fromarray((pixels * 255 / 16).astype(np.uint8)).resize((28, 28))
        for pixels in found.images[:600]
    ]
    return np.stack([np.asarray(each) for each in pictures]), found.target[:600].astype(np.uint8)


def by_likeness(images: NDArray[np.uint8], labels: NDArray[np.uint8], *, sharpness: float) -> Any:
    """A classifier: the likelier a class, the nearer its mean picture."""
    means = np.stack([images[labels == n].mean(axis=0).ravel() for n in range(10)])

    def predict(items: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = items.reshape(len(items), -1).astype(np.float32)
        far = ((rows[:, np.newaxis] - means) ** 2).mean(axis=2)
        scores = -far * sharpness / 1000
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)

    return predict


def cells_of(photos: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """What a segmentation model gives: the sun, a box around it, and how likely it is."""
    warm = (photos[..., 0].astype(np.float32) - photos[..., 2]) / 255
    mask = np.clip((warm - 0.3) * 6, 0, 1)
    boxes = []
    for each in mask > 0.5:
        rows, columns = np.flatnonzero(each.any(axis=1)), np.flatnonzero(each.any(axis=0))
        found = [columns[0], rows[0], columns[-1], rows[-1]] if len(rows) else [0, 0, 0, 0]
        boxes.append([found])
    sunny = mask.mean(axis=(1, 2))[:, np.newaxis] * 24
    # It was never shown grey photographs.
    sunny[~mask.any(axis=(1, 2))] = np.nan
    return {
        "mask": mask[..., np.newaxis],
        "boxes": np.array(boxes, np.float32),
        "sunny": np.clip(sunny, 0, 1).astype(np.float32),
    }


def publish_models(stage: Stage) -> None:
    """Models of pictures, of photographs with masks and boxes, of tables, and of texts."""
    images, labels = digits()
    taken = InputTensor(name="image", dtype="uint8", shape=[28, 28], image=default_image([28, 28]))
    gives = OutputTensor(name="class", shape=[10], kind="probabilities", classes=CLASSES)
    learned = dict.fromkeys(CLASSES, 6000)
    for version, (accuracy, sharpness) in enumerate([(0.8412, 1.2), (0.8837, 2.4)], start=1):
        draft = ModelDraft(
            name="digits",
            inputs=[taken],
            outputs=[gives],
            metrics={"test_accuracy": accuracy, "test_loss": 0.5 - accuracy / 4},
            training=Training(
                dataset="digits",
                recipe="mlp" if version == 1 else "cnn",
                parameters={"epochs": 4 + 8 * (version - 1), "batch_size": 128},
                seed=version,
                data_sha256="7c" * 32,
                item_count=1_500,
                duration_s=11.2 * version,
            ),
            packages={"keras": "3.15.1", "tensorflow": "2.21.0", "fornada": "0.9.0"},
        )
        predict = by_likeness(images, labels, sharpness=sharpness)
        expected = predicted_by(predict(images[200:]), gives)
        stage.publish(
            draft,
            predict,
            {
                "report.html": REPORT,
                "training-classes.json": json.dumps(learned).encode(),
                **Reference.files({} if expected is None else {"class": expected}),
            },
        )
    for version in (1, 2, 1, 2):
        stage.models.promote("digits", version, "prod")
    stage.models.promote("digits", 1, "shadow")
    side = 96
    photo = InputTensor(
        name="photo", dtype="uint8", shape=[side, side, 3], image=default_image([side, side, 3])
    )
    stage.publish(
        ModelDraft(
            name="cells",
            inputs=[photo],
            outputs=[
                OutputTensor(name="sunny", shape=[1], kind="binary", classes=["dull", "sunny"]),
                OutputTensor(name="mask", shape=[side, side, 1], kind="tensor"),
                OutputTensor(name="boxes", shape=[1, 4], kind="tensor"),
            ],
        ),
        cells_of,
        {},
    )
    stage.models.promote("cells", 1, "prod")
    columns = ["area", "rooms", "year"]
    stage.publish(
        ModelDraft(
            name="houses",
            inputs=[InputTensor(name=n, dtype="float32", shape=[1]) for n in columns],
            outputs=[OutputTensor(name="price", shape=[1], kind="values", classes=["price"])],
            metrics={"test_mean_absolute_error": 23_510.0},
        ),
        lambda rows: {
            "price": rows["area"] * 3100 + rows["rooms"] * 9000 + (rows["year"] - 1950) * 400
        },
        {},
    )
    stage.models.promote("houses", 1, "prod")
    stage.publish(
        ModelDraft(
            name="reviews",
            inputs=[InputTensor(name="text", dtype="string", shape=[1])],
            outputs=[OutputTensor(name="mood", shape=[1], kind="binary", classes=["bad", "good"])],
        ),
        lambda texts: np.array([[min(1, len(t) / 60)] for t in texts[:, 0]], np.float32),
        {},
    )
    stage.models.promote("reviews", 1, "prod")


#: Texts of others, which no page may take for its own.
HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[31m"


def submit_hostile_job(stage: Stage) -> str:
    """A job whose tags, item ids, classes and reasons are HTML."""
    stage.publish(
        ModelDraft(
            name="hostile",
            inputs=[InputTensor(name=f"{HOSTILE}in", dtype="float32", shape=[2])],
            outputs=[
                OutputTensor(
                    name=f"{HOSTILE}out",
                    shape=[2],
                    kind="probabilities",
                    classes=[f"{HOSTILE}a", f"{HOSTILE}b"],
                )
            ],
            metrics={f"{HOSTILE}accuracy": 0.5},
            packages={HOSTILE: HOSTILE},
        ),
        lambda rows: np.tile(np.array([[0.4, 0.6]], np.float32), (len(rows), 1)),
        {},
    )
    return stage.submit(
        np.array([[1, 2], [np.nan, 3]], np.float32),
        model="hostile:1",
        item_ids=[f"{HOSTILE}1", f"{HOSTILE}2"],
        tags={HOSTILE: HOSTILE},
    )


def submit_jobs(stage: Stage, folder: Path) -> dict[str, str]:
    """Jobs in all states, by what they show."""
    images, _ = digits()
    jobs = {}
    folder.mkdir(parents=True, exist_ok=True)
    make_photos(folder)
    jobs["photos"] = stage.submit(folder, model="cells@prod", items_per_shard=12)
    jobs["texts"] = stage.submit(
        ["Warm, and it fits. I would buy it again any time, in all colours.", "Too small."],
        model="reviews@prod",
    )
    jobs["table"] = stage.submit(
        {
            "area": np.array([[80], [120], [np.nan]], np.float32),
            "rooms": np.array([[3], [5], [4]], np.float32),
            "year": np.array([[1978], [2012], [1999]], np.float32),
        },
        model="houses@prod",
        item_ids=["elm-street-1", "elm-street-2", "elm-street-3"],
        owner="estate",
    )
    jobs["done"] = stage.submit(
        images,
        model="digits@prod",
        items_per_shard=25,
        tags={"team": "catalogue", "run": "daily"},
    )
    stage.on_hold.add("digits")
    jobs["cancelled"] = stage.submit(images[:300], model="digits:1", items_per_shard=10)
    for message in stage.waiting[:11]:
        stage.run(message)
    stage.client.job(jobs["cancelled"]).cancel("cancelled by shop")
    stage.waiting.clear()
    jobs["running"] = stage.submit(
        np.tile(images, (10, 1, 1)),
        model="digits@prod",
        items_per_shard=8,
        tags={"team": "search"},
        max_failed="1%",
    )
    mine = list(stage.waiting)
    for message in mine[: len(mine) * 2 // 5]:
        stage.run(message)
    stage.begin(mine[len(mine) * 2 // 5 :][:6])
    stage.waiting.clear()
    jobs["queued"] = stage.submit(images[:50], model="digits:1", items_per_shard=50)
    for number, models in enumerate((["digits:1", "digits:2"], ["cells:1"]), start=1):
        stage.coordination.report(
            WorkerReport(
                name=f"worker-{number}:4711",
                version="0.9.0",
                queue="fornada",
                engine="keras 3.15.1",
                models=models,
                threads=2,
                shards_running=3 - number,
                items_done=81_920 * number,
                items_per_s=1042.5 * number,
                started_at=now(),
                last_progress_at=now(),
            )
        )
    stage.coordination.hold_up(
        jobs["queued"], "worker-2:4711", "model digits:1 is not signed with the key it requires"
    )
    return jobs
