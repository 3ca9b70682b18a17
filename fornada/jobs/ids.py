"""Job ids; a small job's is the digest of its manifest, so that a message may carry that."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from fornada.errors import MessageError
from fornada.jobs.manifest import JobManifest
from fornada.logs import get_logger
from fornada.queue.message import ShardMessage
from fornada.records import INLINE_VERSION, JOB_VERSION, MAX_MESSAGE_BYTES, now, sha256_hex
from fornada.repeated import Repeated
from fornada.trust.deployment_keys import DeploymentKeys

log = get_logger(__name__)

_TIME_FORMAT = "%Y%m%dT%H%M%S"
#: Time of submission, and 128 bits of the sha256 of what follows the id in the manifest.
_CONTENT_ID = re.compile(r"\d{8}T\d{6}-(?P<digest>[0-9a-f]{32})")
_RANDOM_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{10}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentAddressedManifest:
    """A manifest whose id is the digest of its content."""

    manifest: JobManifest
    #: As stored, and as carried by messages.
    text: bytes


def is_content_id(job_id: str) -> bool:
    """Whether the id has the form of a content id."""
    return _CONTENT_ID.fullmatch(job_id) is not None


def random_id() -> str:
    """A new id for a job that is not small; ids sort by time of submission."""
    return f"{now():{_TIME_FORMAT}}-{secrets.token_hex(5)}"


def is_generated_id(job_id: str) -> bool:
    """Whether Fornada generated the id, and so for one submission alone.

    A caller's key may be submitted twice: a producer that found no job of that key may submit it
    after another producer's job of the same key came and ended.
    """
    return is_content_id(job_id) or _RANDOM_ID.fullmatch(job_id) is not None


def submitted_at(job_id: str) -> datetime | None:
    """When a job of a generated id was submitted, to the second; `None` for a caller's key."""
    if not is_generated_id(job_id):
        return None
    try:
        return datetime.strptime(job_id[:15], _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def with_content_id(manifest: JobManifest) -> ContentAddressedManifest:
    """The job under its content id, which replaces its current one."""
    version = manifest.schema_version
    content = manifest.to_json().removeprefix(_head(version, manifest.job_id))
    job_id = f"{manifest.created_at:{_TIME_FORMAT}}-{_digest(content)}"
    return ContentAddressedManifest(
        manifest=manifest.model_copy(update={"job_id": job_id}),
        text=_head(version, job_id) + content,
    )


def message_for(
    manifest: JobManifest, shard: int, *, deployment_keys: DeploymentKeys
) -> ShardMessage:
    """The message for a shard; with a key, a small job of one shard travels in it whole.

    A worker reads the manifest from the store unless a key signed it, so others do not travel.
    """
    job_id = manifest.job_id
    if deployment_keys and manifest.can_end_with_its_outcome and is_content_id(job_id):
        text = manifest.to_json()
        if len(text) <= MAX_MESSAGE_BYTES:
            return ShardMessage(
                schema_version=JOB_VERSION,
                job_id=job_id,
                shard=shard,
                manifest=text.decode(),
                hmac=deployment_keys.sign("manifest", job_id, text),
            )
    return ShardMessage(job_id=job_id, shard=shard)


def trusted_manifest(
    message: ShardMessage, *, deployment_keys: DeploymentKeys, repeated: Repeated
) -> JobManifest | None:
    """The manifest that the message carries, if a key signed it and the job's id is its digest.

    `None`: read it from the store. A wrong signature is logged; none at all is an older producer's.
    """
    form = _CONTENT_ID.fullmatch(message.job_id)
    if form is None or message.manifest is None:
        return None
    text = message.manifest.encode(errors="surrogatepass")
    if not deployment_keys.verify("manifest", message.job_id, text, message.hmac):
        if deployment_keys:
            why = "not signed" if message.hmac is None else "signed by no key of this deployment"
            what = "carried manifest not believed"
            repeated.log(log.warning, what, about=why, job_id=message.job_id, why=why)
        return None
    heads = [_head(version, message.job_id) for version in (INLINE_VERSION, JOB_VERSION)]
    head = next((head for head in heads if text.startswith(head)), None)
    if head is None or _digest(text.removeprefix(head)) != form["digest"]:
        return None
    try:
        manifest = JobManifest.from_json(text, where="message")
    except MessageError:
        return None
    # JSON may repeat `job_id` further on, and the last one wins.
    return manifest if manifest.job_id == message.job_id else None


def _head(version: int, job_id: str) -> bytes:
    """The beginning of such a manifest."""
    return f'{{"schema_version":{version},"job_id":"{job_id}",'.encode()


def _digest(content: bytes) -> str:
    return sha256_hex(content)[:32]
