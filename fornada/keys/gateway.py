"""The names of what gateways keep: API keys, uploads, and webhooks."""

import re
from dataclasses import dataclass

from fornada.keys import GATEWAY_PREFIX

API_KEYS_PREFIX = f"{GATEWAY_PREFIX}keys/"
#: Signs the console's sessions, where the deployment has no keys.
SESSION_SECRET = f"{GATEWAY_PREFIX}session-secret"
#: Sessions that people ended before their time, in the order in which they would have ended.
ENDED_SESSIONS_PREFIX = f"{GATEWAY_PREFIX}ended-sessions/"
UPLOADS_PREFIX = f"{GATEWAY_PREFIX}uploads/"
#: Webhooks of jobs that have not been told, one an object, and those that have.
WEBHOOKS_PENDING_PREFIX = f"{GATEWAY_PREFIX}webhooks/pending/"
WEBHOOKS_TOLD_PREFIX = f"{GATEWAY_PREFIX}webhooks/told/"
_UPLOADED = re.compile(rf"{UPLOADS_PREFIX}(?P<owner>[^/]+)/(?P<id>[^/]+)/")


def api_key(key_id: str) -> str:
    """What an API key allows."""
    return f"{API_KEYS_PREFIX}{key_id}.json"


def ended_session(name: str) -> str:
    """Says that a session was ended."""
    return f"{ENDED_SESSIONS_PREFIX}{name}"


def owned_uploads(owner: str) -> str:
    """Prefix of all uploads of an owner, which the owner's jobs read."""
    return f"{UPLOADS_PREFIX}{owner}/"


@dataclass(frozen=True, slots=True)
class UploadKeys:
    """The keys of one upload through a gateway."""

    owner: str
    upload_id: str

    @property
    def prefix(self) -> str:
        """Prefix of all its objects."""
        return f"{owned_uploads(self.owner)}{self.upload_id}/"

    @property
    def record(self) -> str:
        """What it consists of."""
        return f"{self.prefix}upload.json"

    @property
    def parts(self) -> str:
        """Prefix of what is put there."""
        return f"{self.prefix}parts/"

    def part(self, number: int) -> str:
        """One part; in order."""
        return f"{self.parts}{number:08d}"

    @property
    def jobs(self) -> str:
        """Prefix of the jobs that read it."""
        return f"{self.prefix}jobs/"

    def job(self, job_id: str) -> str:
        """Says that a job reads it, or was about to."""
        return f"{self.jobs}{job_id}"


def upload_of(key: str) -> UploadKeys | None:
    """The upload that an object belongs to, if there is one."""
    match = _UPLOADED.match(key)
    return None if match is None else UploadKeys(match["owner"], match["id"])


def pending_webhook(job_id: str) -> str:
    """The webhook of a job, until it has been told of the job's end."""
    return f"{WEBHOOKS_PENDING_PREFIX}{job_id}.json"


def told_webhook(job_id: str) -> str:
    """The webhook of a job, once it has been told or was given up."""
    return f"{WEBHOOKS_TOLD_PREFIX}{job_id}.json"


def webhook_job(key: str) -> str:
    """The job that a webhook's key belongs to."""
    return key.rsplit("/", 1)[-1].removesuffix(".json")
