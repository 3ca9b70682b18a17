"""What the command line does, through a gateway alone."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from fornada import keys
from fornada.errors import JobNotFoundError, UsageError
from fornada.figures.drift import Drift
from model_store.images import ImageOptions
from producer.inputs.interface import LocalFiles, StoredImages
from producer.inputs.paths import find_files
from producer.inputs.tables.interface import Columns
from producer.job_status import JobStatus
from producer.remote.gateway import Gateway
from producer.remote.job import RemoteJob, pages, status_of
from producer.remote.upload import MultipartBody, Part
from producer.upkeep.backlog import Backlog, WorkCount
from producer.upkeep.verification import Difference, Verification

_DRIFT = TypeAdapter(Drift)
_PAGE = 200
_MOST_KEY_CHARACTERS = 256
#: Kind of a file -> what its bytes are, as a body.
_MEDIA_TYPES = {
    "npy": "application/x-npy",
    "safetensors": "application/vnd.safetensors",
    "lines": "text/plain",
}


class RemoteClient:
    """Jobs behind a gateway. Methods are those of `Client`, as far as commands need them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def submit(
        self,
        inputs: LocalFiles | StoredImages,
        *,
        model: str,
        idempotency_key: str | None = None,
        items_per_shard: int | None = None,
        deadline_s: float | None = None,
        max_failed: int | str | None = None,
        strict: bool = False,
        tags: Mapping[str, str] | None = None,
        image: ImageOptions | None = None,
        columns: Mapping[str, Columns] | None = None,
        id_column: str | None = None,
    ) -> RemoteJob:
        """Submit items as a job; as `Client.submit`.

        Raises:
            FornadaError: As the gateway says.
        """
        request: dict[str, Any] = {
            "model": model,
            "items_per_shard": items_per_shard,
            "deadline_s": deadline_s,
            "max_failed": max_failed,
            "strict": strict or None,
            "tags": dict(tags or {}) or None,
            "image": None if image is None else dict(image),
            "columns": None if columns is None else dict(columns),
            "id_column": id_column,
        }
        stated = {name: value for name, value in request.items() if value is not None}
        key = secrets.token_hex(16) if idempotency_key is None else _checked_key(idempotency_key)
        # Headers are written in Latin-1; the gateway reads UTF-8 in it.
        headers = {"Idempotency-Key": key.encode().decode("latin-1")}
        if isinstance(inputs, StoredImages):
            stated["input"] = {
                "type": "s3",
                "uri": f"s3://{inputs.bucket}/{inputs.prefix}",
                "include": list(inputs.selection.include),
                "exclude": list(inputs.selection.exclude),
            }
            document = self._gateway.post("/v1/jobs", stated, headers=headers)
        else:
            body = MultipartBody(stated, list(_parts(inputs, strict=strict)))
            document = self._gateway.send(
                "/v1/jobs", body, headers={**headers, "Content-Type": body.content_type}
            )
        return RemoteJob(document, gateway=self._gateway)

    def predict(
        self, inputs: LocalFiles, *, model: str, top_k: int | None, timeout_s: float
    ) -> tuple[bytes, int]:
        """Predict items now: a JSON object a line for each, and how many have no result.

        Raises:
            UsageError: They are neither images nor one file of an array or of texts.
            FornadaError: As the gateway says.
        """
        found = find_files(inputs, strict=False)
        kinds = {file.kind for file in found}
        if kinds == {"image"}:
            form = MultipartBody(None, list(_parts(inputs, strict=False)))
            body, media_type = b"".join(form), form.content_type
        elif len(found) == 1 and found[0].kind in _MEDIA_TYPES:
            body = Path(found[0].path).read_bytes()
            media_type = _MEDIA_TYPES[found[0].kind]
        else:
            raise UsageError(
                "a gateway predicts images, or one file: .npy, .safetensors or .txt; submit these "
                "as a job"
            )
        lines = self._gateway.lines(
            f"/v1/models/{quote(model)}/predict",
            body,
            media_type=media_type,
            query={"top_k": top_k, "timeout_s": f"{timeout_s:g}"},
        )
        return lines, sum(json.loads(line)["error"] is not None for line in lines.splitlines())

    def job(self, job_id: str) -> RemoteJob:
        """The job with this id, or of this idempotency key.

        Raises:
            JobNotFoundError: There is none, or not for this API key.
        """
        if keys.is_name(job_id):
            with contextlib.suppress(JobNotFoundError):
                return RemoteJob(self._gateway.get(f"/v1/jobs/{job_id}"), gateway=self._gateway)
        found = []
        if 1 <= len(job_id) <= _MOST_KEY_CHARACTERS:
            found = self._gateway.get("/v1/jobs", {"idempotency_key": job_id})["data"]
        if not found:
            raise JobNotFoundError(
                f"no job of yours has the id or the idempotency key {job_id[:80]!r}; "
                "`fornada jobs list` lists them"
            )
        return RemoteJob(found[0], gateway=self._gateway)

    def jobs(self, *, limit: int | None = None) -> list[JobStatus]:
        """The statuses of the newest `limit` jobs of the key's owner, newest first."""
        found: list[JobStatus] = []
        query = {"limit": min(_PAGE, limit or _PAGE)}
        for document in pages(self._gateway, "/v1/jobs", query):
            found.append(status_of(document))
            if len(found) == limit:
                break
        return found

    def backlog(self) -> Backlog:
        """As `Client.backlog`."""
        found = self._gateway.get("/v1/backlog")
        names = ("waiting", "queued", "reserved", "running")
        return Backlog(**{name: WorkCount(**found[name]) for name in names}, calls=found["calls"])

    def resume(self, job_id: str) -> RemoteJob:
        """As `Client.resume`."""
        return self._post_to(job_id, "resume")

    def retry_failed(self, job_id: str) -> RemoteJob:
        """As `Client.retry_failed`."""
        return self._post_to(job_id, "retry-failed")

    def verify(
        self, job_id: str, *, sample: int = 16, timeout_s: float | None = None
    ) -> Verification:
        """As `Client.verify`."""
        path = f"/v1/jobs/{self.job(job_id).id}"
        again = RemoteJob(
            self._gateway.post(f"{path}/verify", {"sample": sample}), gateway=self._gateway
        )
        again.wait(timeout_s)
        found = self._gateway.get(f"{path}/verifications/{again.id}")
        first = found["first_difference"]
        return Verification(
            job_id=found["job_id"],
            verification_id=found["id"],
            shards=found["shards"],
            items=found["items"],
            shards_differing=found["shards_differing"],
            first_difference=None if first is None else Difference(**first),
            engines=None if found["engines"] is None else tuple(found["engines"]),
        )

    def drift(self, job_id: str, *, against: str | None = None) -> Drift:
        """As `Client.drift`."""
        other = None if against is None else self.job(against).id
        found = self._gateway.get(f"/v1/jobs/{self.job(job_id).id}/drift", {"against": other})
        return _DRIFT.validate_python(found)

    def _post_to(self, job_id: str, action: str) -> RemoteJob:
        document = self._gateway.post(f"/v1/jobs/{self.job(job_id).id}/{action}")
        return RemoteJob(document, gateway=self._gateway)


def _checked_key(key: str) -> str:
    if not 1 <= len(key) <= _MOST_KEY_CHARACTERS or not key.isprintable() or key != key.strip():
        raise UsageError(
            f"the idempotency key {key[:80]!r} cannot be sent; give 1 to {_MOST_KEY_CHARACTERS} "
            "printable characters without spaces around them"
        )
    return key


def _parts(given: LocalFiles, *, strict: bool) -> Iterator[Part]:
    """The files, each under its path below what all of them have in common.

    Raises:
        InputError: One does not exist, or there is none.
        UsageError: One cannot be read.
    """
    found = find_files(given, strict=strict)
    paths = [os.path.abspath(file.path) for file in found]  # noqa: PTH100 - links stay
    root = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    for file, path in zip(found, paths, strict=True):
        if file.error is not None:
            raise UsageError(f"{file.error}; leave it out, or mend it")
        yield Part(os.path.relpath(path, root), Path(path))
