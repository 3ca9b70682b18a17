"""Ids of small jobs: each vouches for the content of its manifest, whoever brings that along."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from fornada.errors import MessageError
from fornada.jobs.manifest import JobManifest
from fornada.queue.message import ShardMessage
from fornada.records import INLINE_VERSION, MAX_MESSAGE_BYTES, now, sha256_hex

_TIME_FORMAT = "%Y%m%dT%H%M%S"
#: When it was submitted, and 128 bits of the sha256 of what follows the id in the manifest.
_CONTENT_ID = re.compile(r"\d{8}T\d{6}-(?P<digest>[0-9a-f]{32})")
_RANDOM_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{10}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentAddressedManifest:
    """A manifest under an id that vouches for it."""

    manifest: JobManifest
    #: As it is stored, and goes along with messages.
    text: bytes


def is_content_id(job_id: str) -> bool:
    """Whether the id has the form of those that vouch for a content."""
    return _CONTENT_ID.fullmatch(job_id) is not None


def random_id() -> str:
    """A new id that vouches for nothing; ids sort by the time of submission."""
    return f"{now():{_TIME_FORMAT}}-{secrets.token_hex(5)}"


def is_generated_id(job_id: str) -> bool:
    """Whether Fornada gave the id: then to one submission, and to no other ever.

    A caller's key is another matter: who looked for its job a while ago, and found none, may go on
    to submit it when it has come and ended meanwhile.
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
    """The same job under the id that its content gives it; the id that it has does not count."""
    content = manifest.to_json().removeprefix(_head(manifest.job_id))
    job_id = f"{manifest.created_at:{_TIME_FORMAT}}-{_digest(content)}"
    return ContentAddressedManifest(
        manifest=manifest.model_copy(update={"job_id": job_id}), text=_head(job_id) + content
    )


def message_for(manifest: JobManifest, shard: int) -> ShardMessage:
    """The message for a shard; of a job of one shard it has all that a worker needs to know."""
    job_id = manifest.job_id
    if manifest.can_end_with_its_outcome and is_content_id(job_id):
        text = manifest.to_json()
        if len(text) <= MAX_MESSAGE_BYTES:
            return ShardMessage(
                schema_version=INLINE_VERSION, job_id=job_id, shard=shard, manifest=text.decode()
            )
    return ShardMessage(job_id=job_id, shard=shard)


def trusted_manifest(message: ShardMessage) -> JobManifest | None:
    """The manifest that came with the message, if it is the one that the job's id vouches for."""
    form = _CONTENT_ID.fullmatch(message.job_id)
    if form is None or message.manifest is None:
        return None
    text = message.manifest.encode(errors="surrogatepass")
    head = _head(message.job_id)
    if not text.startswith(head) or _digest(text.removeprefix(head)) != form["digest"]:
        return None
    try:
        manifest = JobManifest.from_json(text, where="message")
    except MessageError:
        return None
    # JSON may have a second `job_id` further on, and the last one counts.
    return manifest if manifest.job_id == message.job_id else None


def _head(job_id: str) -> bytes:
    """How such a manifest begins."""
    return f'{{"schema_version":{INLINE_VERSION},"job_id":"{job_id}",'.encode()


def _digest(content: bytes) -> str:
    return sha256_hex(content)[:32]
