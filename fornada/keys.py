"""The names of all objects, Redis keys, queues and tasks, and the rules for names."""

import hashlib
import re
import uuid
from dataclasses import dataclass

from fornada.errors import UsageError

#: The only Celery task; producers in any language address it by this name.
TASK_RUN_SHARD = "fornada.run_shard"

MODELS_PREFIX = "models/"
JOBS_PREFIX = "jobs/"
#: The training report, beside the artifact.
REPORT_PAGE = "report.html"

#: Shards per prefix of outcomes; S3 lists as many in one page.
_BLOCK_SHARDS = 1000

# On some stores a key is also a path, hence no slash and no leading dot.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ALIAS_MOVE = re.compile(rf"{MODELS_PREFIX}[^/]+/aliases/[^/]+/[0-9]{{8}}\.json")


def check_name(kind: str, name: str) -> str:
    """Return `name` if it may be part of a key.

    Raises:
        UsageError: It is not 1 to 128 letters, digits, `.`, `_` or `-`, a letter or digit first.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{kind} {name!r} is not a valid name; use 1 to 128 letters, digits, '.', '_' or '-', "
            "and begin with a letter or digit"
        )
    return name


@dataclass(frozen=True, slots=True)
class ModelKeys:
    """The keys of one model."""

    name: str

    @property
    def prefix(self) -> str:
        """Prefix of all objects of the model."""
        return f"{MODELS_PREFIX}{self.name}/"

    def version(self, number: int) -> "VersionKeys":
        """The keys of one version."""
        return VersionKeys(f"{self.prefix}{number}/")

    @property
    def aliases_prefix(self) -> str:
        """Prefix of all aliases."""
        return f"{self.prefix}aliases/"

    def alias_prefix(self, alias: str) -> str:
        """Prefix of an alias's moves, in order; the last one counts."""
        return f"{self.aliases_prefix}{alias}/"

    def alias_move(self, alias: str, number: int) -> str:
        """One move of an alias; never overwritten."""
        return f"{self.alias_prefix(alias)}{number:08d}.json"

    @property
    def version_tickets(self) -> str:
        """Prefix of claims on versions, on stores without conditional writes."""
        return f"{self.prefix}tickets/versions/"

    def alias_tickets(self, alias: str) -> str:
        """Prefix of claims on an alias's moves, on stores without conditional writes."""
        return f"{self.prefix}tickets/aliases/{alias}/"


@dataclass(frozen=True, slots=True)
class VersionKeys:
    """The keys of one version of a model."""

    #: Prefix of all objects of the version.
    prefix: str

    @property
    def claim(self) -> str:
        """The first claim on the version's number."""
        return f"{self.prefix}claim.json"

    @property
    def manifest(self) -> str:
        """The manifest; the version exists as soon as this object does."""
        return f"{self.prefix}manifest.json"

    @property
    def artifact(self) -> str:
        """The `.keras` file."""
        return f"{self.prefix}model.keras"

    @property
    def verdict(self) -> str:
        """What the wall found when the version was published."""
        return f"{self.prefix}verdict.json"

    def signature(self, key_id: str) -> str:
        """The signature of the manifest by the key with that id."""
        return f"{self.prefix}signatures/{key_id}.json"


def is_alias_move(key: str) -> bool:
    """Whether a key is an alias's move, and not some other object beside it."""
    return _ALIAS_MOVE.fullmatch(key) is not None


def alias_of(move_key: str) -> str:
    """The alias that a move's key belongs to."""
    return move_key.rsplit("/", 2)[-2]


def alias_move_number(move_key: str) -> int:
    """The number of a move, counted from 1 per alias."""
    return int(move_key.rsplit("/", 1)[-1].removesuffix(".json"))


def ticket_prefix(tickets: str, number: int) -> str:
    """Prefix of all tickets for one number."""
    return f"{tickets}{number:08d}-"


def ticket_number(ticket: str) -> int:
    """The number that a ticket is for."""
    return int(ticket.rsplit("/", 1)[-1].split("-", maxsplit=1)[0])


def model_calibration(sha256: str, where: str) -> str:
    """The measured tile of an artifact on one engine and kind of machine."""
    return f"calibrations/{sha256}/{hashlib.sha256(where.encode()).hexdigest()[:16]}.json"


def probe() -> str:
    """A throwaway object that probes the store."""
    return f"probe/{uuid.uuid4().hex}"


def conditions(endpoint: str) -> str:
    """Whether the store honours conditions, as found through one endpoint."""
    return f"conditions/{hashlib.sha256(endpoint.encode()).hexdigest()[:16]}.json"


@dataclass(frozen=True, slots=True)
class JobKeys:
    """The keys of one job."""

    job_id: str

    @property
    def prefix(self) -> str:
        """Prefix of all objects of the job."""
        return f"{JOBS_PREFIX}{self.job_id}/"

    @property
    def manifest(self) -> str:
        """The immutable description; the job exists as soon as this object does."""
        return f"{self.prefix}manifest.json"

    def input(self, shard: int, sha256: str, suffix: str = "npy") -> str:
        """A shard's input; the digest keeps two submitters of one id from mixing their bytes."""
        return f"{self.prefix}input/{shard:08d}-{sha256[:16]}.{suffix}"

    def index(self, shard: int, sha256: str) -> str:
        """Where the files of a shard are in its archive."""
        return f"{self.prefix}index/{shard:08d}-{sha256[:16]}.json"

    def item_ids(self, shard: int, sha256: str) -> str:
        """The caller's ids of a shard's items."""
        return f"{self.prefix}ids/{shard:08d}-{sha256[:16]}.json"

    def data(self, shard: int, attempt: str) -> str:
        """The results of one attempt; never overwritten."""
        return f"{self.prefix}data/{shard:08d}/{attempt}.npy"

    @property
    def outcomes_prefix(self) -> str:
        """Prefix of all outcomes."""
        return f"{self.prefix}outcome/"

    def outcome_blocks(self, shard_count: int | None) -> list[str]:
        """The prefixes of all outcomes of `shard_count` shards, at most one page each."""
        if shard_count is None:
            return [self.outcomes_prefix]
        return [self._outcome_block(shard) for shard in range(0, shard_count, _BLOCK_SHARDS)]

    def _outcome_block(self, shard: int) -> str:
        # A store on disk makes it a folder, and reads and sorts the whole folder for each page.
        return f"{self.outcomes_prefix}{shard // _BLOCK_SHARDS:05d}/"

    def outcome(self, shard: int) -> str:
        """The committed end of a shard."""
        return f"{self._outcome_block(shard)}{shard:08d}.json"

    @property
    def dead_prefix(self) -> str:
        """Prefix of dead ends of shards, on stores without conditional writes."""
        return f"{self.prefix}dead/"

    def dead(self, shard: int) -> str:
        """A shard's dead end on stores without conditional writes, where ok must beat dead."""
        return f"{self.dead_prefix}{shard:08d}.json"

    @property
    def control(self) -> str:
        """A request to cancel."""
        return f"{self.prefix}control.json"

    @property
    def final(self) -> str:
        """The end of the job."""
        return f"{self.prefix}final.json"


def inline_input(shard: int, sha256: str, suffix: str = "npy") -> str:
    """The name of an input that is inlined in the manifest, outside any job's prefix."""
    return f"inline/{shard:08d}-{sha256[:16]}.{suffix}"


def inline_item_ids(shard: int, sha256: str) -> str:
    """The name of item ids that are inlined in the manifest."""
    return f"inline/{shard:08d}-{sha256[:16]}.json"


def shard_of(outcome_key: str) -> int:
    """The shard that an outcome's or dead end's key belongs to."""
    return int(outcome_key.rsplit("/", 1)[-1].removesuffix(".json"))


@dataclass(frozen=True, slots=True)
class JobStateKeys:
    """The Redis keys of one job; all may be lost."""

    job_id: str

    @property
    def job(self) -> str:
        """Hash: `counted` if nothing was lost since submission, attempts, start of work in ms.

        Also the shard count, deadline and queue of a small job.
        """
        return f"fornada:job:{self.job_id}"

    @property
    def attempts(self) -> str:
        """Hash: shard without an outcome → ids of its attempts, separated by spaces."""
        return f"fornada:attempts:{self.job_id}"

    @property
    def errors(self) -> str:
        """Hash: shard without an outcome → the last error of a failed attempt."""
        return f"fornada:errors:{self.job_id}"

    @property
    def leases(self) -> str:
        """Hash: shard → its lease, by its queue's clock (`clock.lua`)."""
        return f"fornada:leases:{self.job_id}"

    @property
    def enqueued(self) -> str:
        """Sorted set: shard → last enqueue, by its queue's clock in ms; removed when begun."""
        return f"fornada:enqueued:{self.job_id}"

    @property
    def done(self) -> str:
        """Bitmap: shards with an outcome."""
        return f"fornada:done:{self.job_id}"

    @property
    def failed(self) -> str:
        """Hash: dead shard → `dead`; shard with failed items → their count."""
        return f"fornada:failed:{self.job_id}"

    @property
    def end(self) -> str:
        """String: the first proposed end of the job, if the store cannot decide."""
        return f"fornada:end:{self.job_id}"

    @property
    def held_up(self) -> str:
        """Hash: process that cannot go on with the job → why."""
        return f"fornada:held-up:{self.job_id}"

    @property
    def counters(self) -> list[str]:
        """All of the above, which are useless once the job has ended."""
        return [
            self.job,
            self.attempts,
            self.errors,
            self.leases,
            self.enqueued,
            self.done,
            self.failed,
            self.end,
            self.held_up,
        ]

    @property
    def ended(self) -> str:
        """String: the job's end state, kept for a while so that late messages cost nothing."""
        return f"fornada:ended:{self.job_id}"

    @property
    def end_lease(self) -> str:
        """String: the lease of the worker that sums up the job's outcomes, as one of a shard."""
        return f"fornada:end-lease:{self.job_id}"


def redis_decision(question: str) -> str:
    """String: the first answer to a question that the store cannot decide."""
    return f"fornada:decided:{question}"


#: The queue of jobs that name none.
DEFAULT_QUEUE = "fornada"

#: Set: ids of jobs that have not ended; a cache that the reconciler rebuilds from the store.
REDIS_OPEN_JOBS = "fornada:open-jobs"

#: Hash: job that cannot be read → why.
REDIS_UNREADABLE_JOBS = "fornada:unreadable-jobs"

#: Sorted set: the newest jobs by time of submission in ms. A cache, rebuilt with the open jobs.
REDIS_NEWEST_JOBS = "fornada:newest-jobs"

#: String: present while REDIS_OPEN_JOBS and REDIS_NEWEST_JOBS are known to be complete.
REDIS_OPEN_JOBS_COMPLETE = "fornada:open-jobs-complete"

#: Begins the key of a queue's leader.
REDIS_LEADER_PREFIX = "fornada:leader:"


def redis_leader(queue: str) -> str:
    """Hash: the `beat` of the queue's leading reconciler, when that was, and the queue's clock."""
    return f"{REDIS_LEADER_PREFIX}{queue}"


def redis_quarantine(queue: str) -> str:
    """List: what lay on the queue and is no message, newest first."""
    return f"fornada:quarantine:{queue}"


def redis_predict_calls(queue: str) -> str:
    """List: calls of `client.predict` that no worker has taken yet."""
    return f"fornada:predict:{queue}"


def redis_predict_answers(client: str) -> str:
    """List: answers for one client, which collects them."""
    return f"fornada:predicted:{client}"
