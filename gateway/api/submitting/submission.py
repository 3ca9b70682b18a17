"""A request becomes a job."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from gateway.api.submitting.job_request import JobOptions, JobRequest, WebhookRequest
from gateway.auth.principal import Principal
from gateway.deployment import Deployment
from gateway.webhooks.service import GivenWebhook
from producer.inputs.interface import Inputs, StoredUpload
from producer.inputs.uploads import Uploads
from producer.job import Job
from producer.submitting.submission import Options, Submission

_RequestT = TypeVar("_RequestT", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Submitting:
    """What a caller submits with one request."""

    deployment: Deployment
    caller: Principal
    #: The id of the job of the request's `Idempotency-Key`.
    job_id: str | None

    def submit_request(self, request: JobRequest) -> Job:
        """The job of a request in JSON.

        Raises:
            FornadaError: As `Client.submit`.
        """
        inputs, item_ids = request.inputs(owner=self.caller.owner)
        return self.submit(request, inputs, item_ids=item_ids)

    def submit(
        self, asked: JobOptions, inputs: Inputs, *, item_ids: list[str] | None = None
    ) -> Job:
        """The job of these items.

        Raises:
            ForbiddenError: The caller may not use the queue.
            FornadaError: As `Client.submit`.
        """
        self.caller.require_queue(self.deployment.settings.queue)
        job_id = self.job_id
        if isinstance(inputs, StoredUpload):
            # Whoever deletes uploads has to find their jobs, so the id is known before.
            job_id = job_id or f"up-{secrets.token_hex(16)}"
            uploads = Uploads(objects=self.deployment.objects)
            uploads.find(inputs)
            uploads.note_job(inputs, job_id)
        webhook = None
        if asked.webhook is not None:
            # Its webhook is written before the job, under the job's id.
            job_id = job_id or f"k-{secrets.token_hex(20)}"
            webhook = self._webhook(job_id, asked.webhook)
        submission = Submission(
            inputs=inputs, item_ids=item_ids, idempotency_key=job_id, tags=asked.tags
        )
        (job,) = self.deployment.client.submit_with([submission], self._options(asked, webhook))
        return job

    def _webhook(self, job_id: str, asked: WebhookRequest) -> GivenWebhook:
        secret = None if asked.secret is None else asked.secret.get_secret_value()
        return self.deployment.webhooks.given(job_id, asked.url, secret)

    def _options(self, asked: JobOptions, webhook: GivenWebhook | None) -> Options:
        admit = self.deployment.quotas.admission(self.caller)

        def admit_and_write(item_count: int) -> None:
            if admit is not None:
                admit(item_count)
            if webhook is not None:
                webhook.write()

        return Options(
            model=asked.model,
            items_per_shard=asked.items_per_shard,
            deadline_s=asked.deadline_s,
            max_failed=asked.max_failed,
            strict=asked.strict,
            image=None if asked.image is None else asked.image.options(),
            columns=asked.columns,
            id_column=asked.id_column,
            owner=self.caller.owner,
            webhook=None if webhook is None else webhook.url,
            prefixes=self.caller.narrowed(self.deployment.prefixes),
            admit=admit_and_write,
        )


def job_id_of(owner: str, idempotency_key: str) -> str:
    """The id of the job of an `Idempotency-Key`; callers cannot meet."""
    digest = hashlib.sha256(f"{owner}\n{idempotency_key}".encode()).hexdigest()
    return f"k-{digest[:40]}"


def key_of_header(value: str) -> str:
    """The key in an `Idempotency-Key`, which clients write in UTF-8 or in Latin-1."""
    try:
        # Starlette reads headers as Latin-1.
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def parsed(kind: type[_RequestT], data: bytes | bytearray) -> _RequestT:
    """A request's JSON.

    Raises:
        RequestValidationError: It is none, or not such a request.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**error, "loc": ("body", *error["loc"])} for error in errors]
        ) from exc
