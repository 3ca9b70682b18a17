"""The public API as callers use it. It is type-checked by mypy, and never run."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import model_store
from fornada.queue.memory import RecordingSender
from model_store.manifest import ModelManifest
from producer import (
    AsyncClient,
    AsyncJob,
    Client,
    Drift,
    Figures,
    FornadaError,
    InputError,
    ItemBlock,
    Job,
    JobConflictError,
    JobFailedError,
    JobState,
    JobStatus,
    OutputResults,
    Outputs,
    Prediction,
    Results,
    Rows,
    ShardResult,
    StoredImages,
    Submission,
    WaitTimeoutError,
)
from producer.testing import in_memory_client


def submit_an_array(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    job = Client.from_env().submit(images, model="fashion-mnist@prod")
    with Client.from_env() as client:
        answer = client.predict(images, model="m", timeout_s=1.0)
    assert_type(answer, Prediction)
    match answer:
        case dict():
            assert_type(answer["mask"], NDArray[Any] | list[NDArray[Any]])
        case list():
            assert_type(answer, list[NDArray[Any]])
        case _:
            assert_type(answer[answer[:, 0] > 0.5].argmax(axis=1).tolist(), Any)
    assert_type(job, Job)
    assert_type(job.wait(timeout_s=60), JobStatus)
    assert_type(job.results(), Results)
    return job.results().probabilities


async def submit_from_an_event_loop(images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    async with AsyncClient.from_env() as client:
        assert_type(await client.predict(images, model="m"), Prediction)
        job = await client.submit(images, model="fashion-mnist@prod")
        assert_type(job, AsyncJob)
        assert_type(await job.wait(timeout_s=60), JobStatus)
        return [shard.probabilities async for shard in job.shard_results()]


def submit_everything_else(client: Client, blocks: list[NDArray[np.float32]]) -> list[Job]:
    def stream() -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((1, 28, 28), np.uint8)

    def named() -> Iterator[ItemBlock]:
        yield ItemBlock(rows=Rows(np.zeros((1, 28, 28), np.uint8)), item_ids=["a"], where="camera")

    return [
        client.submit(stream(), model="m"),
        client.submit(named(), model="m"),
        client.submit(blocks, model="m", items_per_shard=10, deadline_s=60.0),
        client.submit(tuple(blocks), model="m:3", idempotency_key="night", tags={"a": "b"}),
        client.submit(StoredImages.parse("s3://bucket/prefix/"), model="m"),
        client.submit(blocks[0], model="m", item_ids=("a", 7)),
        client.submit([[1.5, 2.0], [3.0, 4.0]], model="m"),
        client.submit({"photo": blocks}, model="m"),
        client.submit(enumerate(blocks), model="m"),
        client.submit(Path("photos"), model="m"),
        client.submit([Path("a.png"), Path("b.png")], model="m", item_ids=np.arange(2)),
        client.submit(memoryview(b"abc"), model="m"),
        *client.submit_many([blocks[0], Submission(inputs=[[1, 2]])], model="m"),
    ]


def look(client: Client) -> None:
    def show(status: JobStatus) -> None:
        assert_type(status.state, JobState)
        assert_type(status.ended_at, datetime | None)
        assert_type(status.items_per_s, float | None)
        assert_type(status.tags, dict[str, str])
        assert_type(status.figures, Figures | None)

    for status in client.jobs():
        show(status)
    job = client.job("night")
    job.wait(on_progress=show)
    assert_type(client.drift("night", against="the-night-before"), Drift)
    for part in job.shard_results(partial=True):
        assert_type(part, ShardResult)
        assert_type(part.errors, dict[int, str])
    assert_type(job.cancel("wrong images"), JobStatus)


def read(results: Results) -> Outputs:
    assert_type(results.labels, list[str | tuple[str, ...] | None])
    assert_type(results.scores, NDArray[Any])
    assert_type(results.applies, NDArray[np.bool_])
    assert_type(results.values, dict[str, NDArray[Any]])
    assert_type(results.embeddings, NDArray[Any])
    assert_type(results.ok, NDArray[np.bool_])
    assert_type(results["kind"], OutputResults)
    assert_type(results["mask"].rows, NDArray[np.generic] | list[NDArray[np.generic]])
    return results.outputs


def handle(client: Client, images: NDArray[np.uint8]) -> str:
    try:
        client.submit(images, model="m").wait(timeout_s=1)
    except (InputError, JobConflictError) as exc:
        return str(exc)
    except (JobFailedError, WaitTimeoutError):
        return "later"
    except FornadaError as exc:
        assert_type(exc.exit_code, int)
        return "again" if exc.may_pass_later else "no"
    return "ok"


def in_their_tests() -> None:
    def predict(images: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.zeros((len(images), 2), np.float32)

    client = in_memory_client(
        model="m", item_shape=(28, 28), classes=("a", "b"), predict=predict, run_at_once=True
    )
    assert_type(in_memory_client(model="m", item_shape=[2], kind="embedding"), Client)
    assert_type(client, Client)
    assert_type(len(RecordingSender().messages), int)


def what_is_wrong(client: Client, images: NDArray[np.uint8]) -> None:
    client.submit(images)  # type: ignore[call-arg]  # a model must be named
    client.submit(images, "m")  # type: ignore[call-arg]  # and by its keyword
    client.submit(3, model="m")  # type: ignore[arg-type]  # a number is no array
    client.submit(images, model="m", tags={"a": 1})  # type: ignore[dict-item]  # tags are text
    client.job(7)  # type: ignore[arg-type]  # ids are text


def publish_a_fitted_model(model: object, images: NDArray[np.uint8]) -> ModelManifest | None:
    test = (images, list(range(10)))
    manifest = model_store.publish(model, name="fashion-mnist", test=test, promote="prod")
    model_store.publish(model, name="cats", kind="binary", image={"resize": "crop"}, fill=0.0)
    model_store.publish(model, name="cats", image={"resize": "fit"})  # type: ignore[arg-type]
    assert_type(manifest, ModelManifest)
    return model_store.PublishModel(name="fashion-mnist", test=test).manifest
