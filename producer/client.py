"""The client: submit items as jobs, find jobs again, predict a few items at once."""

import os
from collections.abc import Iterable, Mapping
from typing import Self

from fornada.calls.frames import MAX_ANSWER_FRAME_BYTES
from fornada.calls.interface import CallChannel
from fornada.calls.redis import RedisCallChannel
from fornada.coordination.interface import Coordination
from fornada.coordination.redis import RedisCoordination
from fornada.coordination.signed import SignedDecisions
from fornada.figures.drift import Drift
from fornada.jobs.bucket_id import BucketCheck
from fornada.jobs.store import JobStore
from fornada.queue.celery_queue import CelerySender
from fornada.queue.interface import Sender
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.opening import open_store
from fornada.tracing.interface import Value
from fornada.tracing.opening import open_traces
from fornada.trust.deployment_keys import DeploymentKeys
from fornada.trust.input_prefixes import InputPrefixes
from model_store.images import ImageOptions
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from producer.calls.outputs import OnErrors, Prediction
from producer.calls.predict_calls import PredictCalls
from producer.calls.predictions import Predictions, check_on_errors
from producer.inputs.interface import Inputs
from producer.inputs.tables.interface import Columns
from producer.job import Job
from producer.jobs import Jobs
from producer.submitting.creation import JobCreator
from producer.submitting.resolver import RecentModels, Resolver
from producer.submitting.submission import ItemIds, Options, Submission
from producer.submitting.submitter import Submitter
from producer.upkeep.drift import drift_from_job, drift_from_model


class Client(Jobs):
    """Submits jobs and finds them again. Safe to share between threads.

    Methods raise `BrokerError` or `StoreError` when Redis or the store cannot be reached.

    Example:
        >>> job = Client.from_env().submit(inputs, model="fashion-mnist@prod")
        >>> job.wait(timeout_s=60)
        >>> job.results().probabilities  # float32 [items, classes], in submission order
    """

    def __init__(
        self,
        *,
        objects: ObjectStore,
        coordination: Coordination,
        sender: Sender,
        settings: Settings,
        channel: CallChannel | None = None,
    ) -> None:
        prefixes = InputPrefixes.from_settings(settings)
        deployment_keys = DeploymentKeys.from_settings(settings)
        decisions = SignedDecisions(coordination, deployment_keys=deployment_keys)
        jobs = JobStore(objects=objects, decisions=decisions, prefixes=prefixes)
        #: Spans of what callers ask for.
        self.traces = open_traces(settings)
        self._queue = settings.queue
        creator = JobCreator(
            jobs=jobs,
            coordination=coordination,
            sender=sender,
            settings=settings,
            deployment_keys=deployment_keys,
            traces=self.traces,
            bucket=BucketCheck.from_settings(settings, objects=objects, coordination=coordination),
        )
        channel = channel or RedisCallChannel.from_settings(
            settings, most_bytes=MAX_ANSWER_FRAME_BYTES
        )
        super().__init__(
            jobs=jobs,
            coordination=coordination,
            sender=sender,
            channel=channel,
            creator=creator,
        )
        self._models = ModelStore(objects=objects)
        resolver = Resolver(models=self._models)
        calls = PredictCalls(
            channel=channel,
            queue=settings.queue,
            deployment_keys=deployment_keys,
            traces=self.traces,
        )
        #: What `predict` asks of workers; `AsyncClient` asks the same without a thread a call.
        self.predictions = Predictions(models=RecentModels(resolver=resolver), calls=calls)
        self._submitter = Submitter(
            objects=objects,
            models=self._models,
            resolver=resolver,
            clock=self._clock,
            creator=creator,
            settings=settings,
            as_job=self._as_job,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Client":
        """A client of the deployment that `FORNADA_*` names; nothing is contacted yet.

        Raises:
            ConfigError: A variable is missing, wrong or unknown, or only FORNADA_URL is set: a
                gateway is spoken to over HTTP.
        """
        settings = Settings.from_env(os.environ if environ is None else environ)
        settings.require_deployment("a Client")
        return cls.from_settings(settings)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Client":
        """A client of the deployment that `settings` name; nothing is contacted yet."""
        return cls(
            objects=open_store(settings),
            coordination=RedisCoordination.from_settings(settings),
            sender=CelerySender.from_settings(settings),
            settings=settings,
        )

    def submit(
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
    ) -> Job:
        """Submit items as a job; once this returns, the job will end, whatever crashes.

        Args:
            inputs: Items in an array or tensor, item dtype [items, *item_shape] of the model (a
                last axis of 1 may be missing), one item without the items' axis, nested lists of
                numbers or texts, a data frame, `pathlib.Path` or images of Pillow; for several
                inputs a mapping of these by name; an iterable of any of these, which is streamed
                and never held whole; or `StoredImages`, which are read in place.
            model: `name@alias`, `name:version`, or `name` for the newest version. The version is
                fixed now: an alias that moves later does not change the job.
            item_ids: A distinct id for each item; by default items are numbered.
            idempotency_key: Becomes the job's id. Submitting the same again returns the same job.
            items_per_shard: Items in one message; FORNADA_ITEMS_PER_SHARD by default.
            deadline_s: Seconds from now after which no shard is begun, and the job ends EXPIRED; 7
                days by default.
            max_failed: If more items than this fail, a count or per cent of all as `"5%"`, the job
                is FAILED; without it, PARTIAL as long as one item has a result.
            strict: Refuse everything for one bad item; by default it fails alone, in the job.
            tags: Kept with the job.
            image: How image files become items, where that is to differ from what the model's
                manifest says, such as `{"resize": "crop", "interpolation": "bicubic"}`.
            columns: Input -> the column of a table or data frame, or the key of a row, that it is;
                by default the one of its name; or several, whose values side by side are the item.
            id_column: The column of a table or data frame, or the key of a row, that has the items'
                ids.

        Raises:
            InputError: The inputs do not fit the model.
            UsageError: An option makes no sense, or `model` is not a model reference.
            ModelNotFoundError: There is no such model, version or alias.
            ForeignBucketError: Redis belongs to another bucket.
            JobConflictError: The idempotency key was used for other work.
            BrokerError, StoreError: The job may run nevertheless; with an idempotency key, submit
                again.
        """
        submission = Submission(
            inputs=inputs, item_ids=item_ids, idempotency_key=idempotency_key, tags=tags
        )
        (job,) = self.submit_many(
            [submission],
            model=model,
            items_per_shard=items_per_shard,
            deadline_s=deadline_s,
            max_failed=max_failed,
            strict=strict,
            image=image,
            columns=columns,
            id_column=id_column,
        )
        return job

    def submit_many(
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
    ) -> list[Job]:
        """Submit many jobs, each as with `submit`; small ones share their round trips.

        Args:
            submissions: Inputs each, or a `Submission` with its own ids, key and tags. All are held
                in memory.
            model: As in `submit`; resolved once.
            items_per_shard: As in `submit`.
            deadline_s: As in `submit`, counted from the same moment for all.
            max_failed: As in `submit`, of each job's own items.
            strict: As in `submit`.
            image: As in `submit`.
            columns: As in `submit`.
            id_column: As in `submit`.

        Returns:
            The jobs, in the order of the submissions.

        Raises:
            InputError, UsageError, ModelNotFoundError: One does not fit; nothing was submitted.
            PartlySubmittedError: Redis or the store failed for some, or a key was used for other
                work. It has the accepted jobs, and an error for each of the others. These may run
                nevertheless; with idempotency keys, submit them again.
            BrokerError, StoreError, JobConflictError: The first of the errors, if all failed.
        """
        options = Options(
            model=model,
            items_per_shard=items_per_shard,
            deadline_s=deadline_s,
            max_failed=max_failed,
            strict=strict,
            image=image,
            columns=columns,
            id_column=id_column,
        )
        return self.submit_with(submissions, options)

    def submit_with(
        self, submissions: Iterable[Submission | Inputs], options: Options
    ) -> list[Job]:
        """As `submit_many`, for a door that says more of jobs: their owner, their webhook.

        Raises:
            FornadaError: As `submit_many`.
        """
        attributes: dict[str, Value] = {
            "messaging.system": "celery",
            "messaging.operation.name": "submit",
            "messaging.operation.type": "send",
            "messaging.destination.name": self._queue,
            "fornada.model": options.model,
        }
        with self.traces.span("submit", kind="producer", attributes=attributes):
            jobs = self._submitter.submit_many(submissions, options)
            self.traces.note({"fornada.job_count": len(jobs)})
            if len(jobs) == 1:
                self.traces.note({"fornada.job_id": jobs[0].id})
            return jobs

    def predict(
        self,
        inputs: Inputs,
        *,
        model: str,
        timeout_s: float = 10.0,
        errors: OnErrors = "raise",
        columns: Mapping[str, Columns] | None = None,
    ) -> Prediction:
        """Predict a few items now, through Redis; **no job is made, and nothing is kept**.

        A call is answered at most once: if its worker dies, Redis is emptied or workers are late,
        `WaitTimeoutError` is raised, and the caller may ask again. Submit what must not be lost.
        Concurrent calls share predict calls (`FORNADA_MAX_BATCH_SIZE`, `FORNADA_MAX_LATENCY_S`):
        threads that share one client are many times as fast as one thread. An item gives the same
        bytes as in a job.

        Args:
            inputs: As in `submit`, but of a megabyte at most and not stored; image files are
                decoded here.
            model: As in `submit`. An alias that moves is followed within five seconds.
            timeout_s: How long to wait.
            errors: `raise`, or `nan` to return NaN in the rows of items that failed.
            columns: As in `submit`.

        Returns:
            The output of a model with one, in its dtype and shape, as float32 [items, classes]; a
            list of an array an item if the shape varies. Of a model with several, a dict of them by
            name. Read-only.

        Raises:
            InputError: The inputs do not fit the model.
            PredictionErrors: Some items failed; it has the rows of the others.
            ModelNotFoundError: There is no such model, version or alias.
            ModelError: The worker cannot use the model.
            UsageError: There are too many items, or an option makes no sense.
            WaitTimeoutError: No answer came in time.
            BacklogFullError: A thousand calls are waiting already.
        """
        check_on_errors(errors)
        with self.traces.span("predict", kind="client", attributes={"fornada.model": str(model)}):
            found = self.predictions.predict(
                inputs, model=model, timeout_s=timeout_s, columns=columns
            )
            return found.checked(errors)

    def close(self) -> None:
        """End the thread that reads answers to `predict`; jobs are not affected."""
        self.predictions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def drift(self, job_id: str, *, against: str | None = None) -> Drift:
        """How far the predictions of an ended job are from what is expected of its model.

        Args:
            job_id: The job.
            against: Another job of the same outputs to compare it with, in place of what the model
                predicted for its test items.

        Raises:
            JobNotFoundError: There is no such job.
            JobStateError: One has not ended.
            DriftUnknownError: There are no figures of one of the two.
        """
        manifest = self.job(job_id).manifest
        if against is None:
            return drift_from_model(manifest, jobs=self._jobs, models=self._models)
        return drift_from_job(manifest, self.job(against).manifest, jobs=self._jobs)

    def model(self, model: str) -> ModelManifest:
        """The manifest of `model` (as in `submit`): what it takes and gives.

        Raises:
            ModelNotFoundError: There is no such model, version or alias.
        """
        return self._models.resolve(model)
