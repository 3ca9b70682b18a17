"""The client for event loops: calls take no thread each, and nothing blocks the loop."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Self
from weakref import WeakKeyDictionary

from fornada.calls.frames import AnswerFrame
from fornada.coordination.worker_board.interface import WorkerReport
from fornada.figures.drift import Drift
from fornada.formats.images import DecoderPool
from fornada.settings import Settings
from model_store.images import ImageOptions
from model_store.manifest import ModelManifest
from producer.asynchronous.job import AsyncJob
from producer.asynchronous.lookups import ModelLookups
from producer.asynchronous.threads import Threads
from producer.calls.loop_answers import LoopAnswers
from producer.calls.outputs import CallResult, OnErrors, Prediction
from producer.calls.predictions import check_on_errors
from producer.client import Client
from producer.inputs.data.calls import CallItems, call_items, is_at_hand
from producer.inputs.interface import Inputs, Signature
from producer.inputs.tables.interface import Columns
from producer.job import Job
from producer.job_status import JobStatus
from producer.options import check_text
from producer.submitting.submission import ItemIds, Options, Submission
from producer.upkeep.backlog import Backlog
from producer.upkeep.verification import Verification

#: Threads that read and write the store; what needs more waits.
_THREADS = 16
#: Threads that read inputs of calls, and decode images.
_READERS = 4
#: A larger answer is taken apart in a thread.
_LARGE_BYTES = 256 * 1024


class AsyncClient:
    """Submits jobs and finds them again: the methods of `Client`, which an event loop awaits.

    `predict` takes no thread while it waits; everything else runs in a few threads of the client's
    own. Event loops and threads may share one.

    Args:
        client: What it works with; ended with it.

    Example:
        >>> async with AsyncClient.from_env() as client:
        ...     job = await client.submit(inputs, model="fashion-mnist@prod")
        ...     await job.wait(timeout_s=60)
        ...     (await job.results()).probabilities  # float32 [items, classes]
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        #: Of each event loop that calls.
        self._answers: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopAnswers] = (
            WeakKeyDictionary()
        )
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="fornada-async")
        self._threads = Threads(pool)
        self._lookups = ModelLookups(client.predictions.models, pool)
        self._decoders = DecoderPool(_READERS)
        self._readers = Threads(self._decoders)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """As `Client.from_env`.

        Raises:
            ConfigError: A variable is missing, wrong or unknown.
        """
        return cls(Client.from_env(environ))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """As `Client.from_settings`."""
        return cls(Client.from_settings(settings))

    async def submit(
        self,
        inputs: Inputs,
        *,
        model: str,
        item_ids: ItemIds | None = None,
        idempotency_key: str | None = None,
        items_per_shard: int | None = None,
        deadline_s: float | None = None,
        max_failed: int | str | None = None,
        strict: bool = False,
        tags: Mapping[str, str] | None = None,
        image: ImageOptions | None = None,
        columns: Mapping[str, Columns] | None = None,
        id_column: str | None = None,
    ) -> AsyncJob:
        """As `Client.submit`; cancelling it does not take back what was submitted.

        Raises:
            FornadaError: As `Client.submit`.
        """
        job = await self._threads.run(
            self._client.submit,
            inputs,
            model=model,
            item_ids=item_ids,
            idempotency_key=idempotency_key,
            items_per_shard=items_per_shard,
            deadline_s=deadline_s,
            max_failed=max_failed,
            strict=strict,
            tags=tags,
            image=image,
            columns=columns,
            id_column=id_column,
        )
        return self._as_job(job)

    async def submit_many(
        self,
        submissions: Iterable[Submission | Inputs],
        *,
        model: str,
        items_per_shard: int | None = None,
        deadline_s: float | None = None,
        max_failed: int | str | None = None,
        strict: bool = False,
        image: ImageOptions | None = None,
        columns: Mapping[str, Columns] | None = None,
        id_column: str | None = None,
    ) -> list[AsyncJob]:
        """As `Client.submit_many`.

        Raises:
            FornadaError: As `Client.submit_many`; the jobs of a `PartlySubmittedError` are `Job`s.
        """
        jobs = await self._threads.run(
            self._client.submit_many,
            submissions,
            model=model,
            items_per_shard=items_per_shard,
            deadline_s=deadline_s,
            max_failed=max_failed,
            strict=strict,
            image=image,
            columns=columns,
            id_column=id_column,
        )
        return [self._as_job(job) for job in jobs]

    async def submit_with(
        self, submissions: Iterable[Submission | Inputs], options: Options
    ) -> list[AsyncJob]:
        """As `Client.submit_with`.

        Raises:
            FornadaError: As `Client.submit_many`.
        """
        jobs = await self._threads.run(self._client.submit_with, submissions, options)
        return [self._as_job(job) for job in jobs]

    async def predict(
        self,
        inputs: Inputs,
        *,
        model: str,
        timeout_s: float = 10.0,
        errors: OnErrors = "raise",
        columns: Mapping[str, Columns] | None = None,
    ) -> Prediction:
        """As `Client.predict`; cancelling it forgets the call.

        Raises:
            FornadaError: As `Client.predict`.
        """
        check_on_errors(errors)
        found = await self.predict_with(inputs, model=model, timeout_s=timeout_s, columns=columns)
        return found.checked(errors)

    async def predict_with(
        self,
        inputs: Inputs,
        *,
        model: str | ModelManifest,
        timeout_s: float = 10.0,
        columns: Mapping[str, Columns] | None = None,
    ) -> CallResult:
        """As `predict`, for a door that says more: the model that answered, and the failed items.

        Args:
            inputs: As in `predict`.
            model: As in `predict`, or what `recent_model` gave.
            timeout_s: As in `predict`.
            columns: As in `predict`.

        Raises:
            FornadaError: As `Client.predict`; failed items raise nothing.
        """
        manifest = model if isinstance(model, ModelManifest) else await self.recent_model(model)
        signature = Signature.of(manifest)
        if is_at_hand(inputs):
            items = call_items(inputs, signature, columns=columns)
        else:
            items = await self._readers.run(
                call_items,
                inputs,
                signature,
                columns=columns,
                memory_for=self._decoders.memory_for,
            )
        answer = None
        if items.columns:
            about = {"fornada.model": str(manifest)}
            with self._client.traces.span("predict", kind="client", attributes=about):
                answer = await self._answer(items, manifest, timeout_s)
        if answer is not None and answer.file_bytes > _LARGE_BYTES:
            return await self._readers.run(CallResult.of, answer, items, model=manifest)
        return CallResult.of(answer, items, model=manifest)

    async def _answer(
        self, items: CallItems, manifest: ModelManifest, timeout_s: float
    ) -> AnswerFrame:
        loop = asyncio.get_running_loop()
        answers = self._answers.get(loop)
        if answers is None:
            answers = self._answers[loop] = LoopAnswers(loop)
        expected = answers.expect()
        predictions = self._client.predictions
        call = predictions.begin(items, manifest, timeout_s=timeout_s, expected=expected)
        try:
            return await expected.future
        except asyncio.CancelledError:
            predictions.forget(call)
            raise

    async def job(self, job_id: str) -> AsyncJob:
        """As `Client.job`.

        Raises:
            FornadaError: As `Client.job`.
        """
        return self._as_job(await self._threads.run(self._client.job, job_id))

    async def jobs(self, *, limit: int | None = None) -> list[JobStatus]:
        """As `Client.jobs`.

        Raises:
            FornadaError: As `Client.jobs`.
        """
        return await self._threads.run(self._client.jobs, limit=limit)

    async def backlog(self) -> Backlog:
        """As `Client.backlog`."""
        return await self._threads.run(self._client.backlog)

    async def workers(self) -> Sequence[WorkerReport]:
        """As `Client.workers`."""
        return await self._threads.run(self._client.workers)

    async def resume(self, job_id: str) -> AsyncJob:
        """As `Client.resume`.

        Raises:
            FornadaError: As `Client.resume`.
        """
        return self._as_job(await self._threads.run(self._client.resume, job_id))

    async def retry_failed(
        self, job_id: str, *, admit: Callable[[int], None] | None = None
    ) -> AsyncJob:
        """As `Client.retry_failed`."""
        retry = self._client.retry_failed
        return self._as_job(await self._threads.run(retry, job_id, admit=admit))

    async def drift(self, job_id: str, *, against: str | None = None) -> Drift:
        """As `Client.drift`."""
        return await self._threads.run(self._client.drift, job_id, against=against)

    async def verify(
        self, job_id: str, *, sample: int = 16, timeout_s: float | None = None
    ) -> Verification:
        """As `Client.verify`; takes no thread while it waits.

        Raises:
            FornadaError: As `Client.verify`.
        """
        again = await self.begin_verification(job_id, sample=sample)
        await again.wait(timeout_s)
        return await self.verification(job_id, again.id)

    async def begin_verification(self, job_id: str, *, sample: int = 16) -> AsyncJob:
        """As `Client.begin_verification`."""
        begin = self._client.begin_verification
        return self._as_job(await self._threads.run(begin, job_id, sample=sample))

    async def verification(self, job_id: str, verification_id: str) -> Verification:
        """As `Client.verification`.

        Raises:
            FornadaError: As `Client.verification`.
        """
        return await self._threads.run(self._client.verification, job_id, verification_id)

    async def delete(self, job_id: str) -> None:
        """As `Client.delete`.

        Raises:
            FornadaError: As `Client.delete`.
        """
        await self._threads.run(self._client.delete, job_id)

    async def purge(self, older_than: timedelta) -> list[str]:
        """As `Client.purge`.

        Raises:
            FornadaError: As `Client.purge`.
        """
        return await self._threads.run(self._client.purge, older_than)

    async def model(self, model: str) -> ModelManifest:
        """As `Client.model`.

        Raises:
            FornadaError: As `Client.model`.
        """
        return await self._threads.run(self._client.model, model)

    async def recent_model(self, model: str) -> ModelManifest:
        """As `model`, as it was a moment ago: what `predict` uses."""
        check_text(model, "model")
        return await self._lookups.recent(model)

    async def close(self) -> None:
        """End the client's threads; jobs are not affected."""
        await self._threads.run(self._client.close)
        self._readers.close()
        self._threads.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _as_job(self, job: Job) -> AsyncJob:
        return AsyncJob(job, threads=self._threads)
