"""The isolated process: predicts ranges of one shard's items, or dies over them."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fornada import logs
from fornada.child_process import end_with_parent
from fornada.coordination.redis import RedisCoordination
from fornada.coordination.signed import SignedDecisions
from fornada.errors import (
    DeviceLostError,
    DeviceMemoryError,
    FornadaError,
    JobRefusedError,
    ModelDeclinedError,
    PredictionError,
)
from fornada.formats.columns import to_columns_file
from fornada.formats.rows import Rows
from fornada.jobs.items import Items, Predicted
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.shard_items import read_items
from fornada.jobs.store import JobStore
from fornada.settings import Settings
from fornada.storage.opening import open_store
from fornada.tensors import InputTensor
from fornada.trust.deployment_keys import DeploymentKeys
from fornada.trust.input_prefixes import InputPrefixes
from model_store.engines.catalog import open_engine
from model_store.engines.golden import predict_items
from model_store.safety.trust import Trust
from model_store.store import ModelStore
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.declined_models import faults_of_loading
from worker.compute.first_load import FirstLoads
from worker.compute.halving import predict_halves
from worker.compute.predictor import EnginePredictor, Predictor
from worker.compute.tile_choice import TileChoice
from worker.compute.tile_queue import Request
from worker.compute.together import call_sizes
from worker.shards.job_check import check_says_what_its_model_says


def main() -> None:
    """Answer requests from stdin until it closes."""
    parser = argparse.ArgumentParser(prog="python -m worker.shards.isolated", description=__doc__)
    parser.add_argument("job_id")
    parser.add_argument("shard", type=int)
    arguments = parser.parse_args()
    end_with_parent()
    # Other output, of native code too, must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    shard = _Shard(settings, job_id=arguments.job_id, shard=arguments.shard)
    for line in sys.stdin:
        request = json.loads(line)
        answer = _answered(shard.load) if "load" in request else _answered(shard.predict, request)
        answers.write(json.dumps(answer) + "\n")


class _Shard:
    """One shard, and its model once loaded."""

    def __init__(self, settings: Settings, *, job_id: str, shard: int) -> None:
        objects = open_store(settings)
        self._jobs = JobStore(objects=objects, prefixes=InputPrefixes.from_settings(settings))
        self._models = ModelStore(objects=objects, trust=Trust.from_settings(settings))
        self._settings = settings
        self._objects = objects
        self._manifest: JobManifest = self._jobs.manifest(job_id)
        self._spec = self._manifest.shards[shard]
        self._items: Items | None = None
        #: Sizes of the objects read since the last answer.
        self._read_sizes: list[int] = []

    def load(self) -> dict[str, Any]:
        """Load the model."""
        with faults_of_loading():
            return self._load()

    def _load(self) -> dict[str, Any]:
        manifest = self._models.verified_manifest(self._manifest.model)
        disk = ArtifactCache(self._settings.cache_dir)
        artifact = disk.get_or_fetch(
            manifest.digest, lambda path: self._models.download(manifest.artifact, path)
        )
        check_says_what_its_model_says(self._manifest, manifest)
        # One call at a time is enough here.
        engine = open_engine(self._settings.engine, threads=1)
        tiles = TileChoice(
            self._settings,
            objects=self._objects,
            decide=SignedDecisions(
                RedisCoordination.from_settings(self._settings),
                deployment_keys=DeploymentKeys.from_settings(self._settings),
            ).decide,
            engine=engine,
        )
        first_loads = FirstLoads(
            self._settings, models=self._models, disk=disk, known_items=tiles.known_items
        )
        most_items = first_loads.check(manifest, artifact)
        self._predictor = EnginePredictor(
            manifest,
            artifact,
            engine=engine,
            models=self._models,
            choose_tile=partial(tiles.choose, most_items=most_items),
        )
        return {"engine": self._predictor.engine}

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Predict a range of items into a file; return the items that failed."""
        first, count = int(request["first"]), int(request["count"])
        items, manifest = self._read(first, count), self._manifest
        predicted = self._predicted(items)
        columns, errors = items.placed(predicted, gives=manifest.gives, item_count=count)
        Path(request["output"]).write_bytes(to_columns_file(columns, manifest.gives)[0])
        bytes_in, self._read_sizes = sum(self._read_sizes), []
        return {
            "bytes_in": bytes_in,
            "errors": [{"index": e.index + first, "reason": e.reason} for e in errors],
            **call_sizes(items, predicted, takes=manifest.takes),
        }

    def _predicted(self, items: Items) -> list[Predicted]:
        while True:
            try:
                return items.predicted(
                    lambda rows: _predict_rows(self._predictor, rows, takes=self._manifest.takes)
                )
            except DeviceMemoryError as exc:
                self._predictor = self._predictor.smaller(exc)

    def _read(self, first: int, count: int) -> Items:
        """`count` items from `first` on, whose positions and errors count from there."""
        if self._spec.format not in {"npy", "safetensors"}:
            # Decoding can kill too, so read these alone.
            part = self._spec.select(range(first, first + count))
            return self._fetched(part)
        if self._items is None:
            self._items = self._fetched(self._spec)
        return self._items.between(first, count)

    def _fetched(self, spec: ShardInput) -> Items:
        return read_items(self._manifest, spec, jobs=self._jobs, on_read=self._read_sizes.append)


def _predict_rows(predictor: Predictor, rows: Rows, *, takes: Sequence[InputTensor]) -> Predicted:
    """As the batcher does, one tile after the other."""
    tile_items = predictor.rows_for(rows.shapes)

    def predict(some: Rows) -> Rows:
        return predict_items(predictor.predict_tile, some, tile_items=tile_items)

    request = Request(rows, number=1)
    request.tile_items = tile_items
    while request.left:
        part = request.take(min(tile_items, request.left))
        try:
            predicted = Predicted(predict(part.rows), {})
        except PredictionError as exc:
            predicted = predict_halves(
                predict,
                part.rows,
                exc,
                predict_one=predictor.predict_one,
                shape_is_open=any(tensor.is_open for tensor in takes),
            )
        request.deliver(part, predicted)
    return request.future.result()


def _answered(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    try:
        return work(*arguments)
    except DeviceLostError:
        # As after any crash, the next range has a new process.
        raise
    except JobRefusedError as exc:
        return {"failed": "job", "message": str(exc), "public": exc.public_text}
    except ModelDeclinedError as exc:
        return {"failed": "declined", "message": str(exc), "public": exc.public_text}
    except FornadaError as exc:
        return {"failed": exc.fault, "message": str(exc), "public": exc.public_text}
    except OSError as exc:
        # A full disk, for example: dying of it would blame the items.
        return {"failed": "transient", "message": str(exc)}


if __name__ == "__main__":
    main()
