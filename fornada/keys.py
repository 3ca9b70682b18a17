"""The name of every object, Redis key, queue and task, and the rules for names: nowhere else."""

import hashlib
import re
import uuid
from dataclasses import dataclass

from fornada.errors import UsageError

#: The one Celery task. Producers in any language address it by this name.
TASK_RUN_SHARD = "fornada.run_shard"

MODELS_PREFIX = "models/"
JOBS_PREFIX = "jobs/"
#: The training report, beside the artifact.
REPORT_PAGE = "report.html"

#: Shards in one prefix of outcomes: what S3 lists in one page.
_BLOCK_SHARDS = 1000

# A key is also a path on disk-backed stores, hence no slash and no leading dot.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ALIAS_MOVE = re.compile(rf"{MODELS_PREFIX}[^/]+/aliases/[^/]+/[0-9]{{8}}\.json")


def check_name(kind: str, name: str) -> str:
    """Return `name` when it is fit to be part of a key.

    Raises:
        UsageError: It is not 1 to 128 of letters, digits, `.`, `_`, `-`, a letter or digit first.
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
        """Prefix of everything of the model."""
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
        """Who claims which version, on stores without conditional writes."""
        return f"{self.prefix}tickets/versions/"

    def alias_tickets(self, alias: str) -> str:
        """Who claims which move of an alias, on stores without conditional writes."""
        return f"{self.prefix}tickets/aliases/{alias}/"


@dataclass(frozen=True, slots=True)
class VersionKeys:
    """The keys of one version of a model."""

    #: Prefix of everything of the version.
    prefix: str

    @property
    def claim(self) -> str:
        """Who first claimed the version's number."""
        return f"{self.prefix}claim.json"

    @property
    def manifest(self) -> str:
        """The manifest; the version exists from the moment that this object does."""
        return f"{self.prefix}manifest.json"

    @property
    def artifact(self) -> str:
        """The `.keras` file."""
        return f"{self.prefix}model.keras"

    def signature(self, key_id: str) -> str:
        """A signature of the manifest, by the key of that id."""
        return f"{self.prefix}signatures/{key_id}.json"


def is_alias_move(key: str) -> bool:
    """Whether a key is an alias's move, and not something that was put beside it."""
    return _ALIAS_MOVE.fullmatch(key) is not None


def alias_of(move_key: str) -> str:
    """The alias that a move's key belongs to."""
    return move_key.rsplit("/", 2)[-2]


def alias_move_number(move_key: str) -> int:
    """The number of a move among its alias's, from 1."""
    return int(move_key.rsplit("/", 1)[-1].removesuffix(".json"))


def ticket_prefix(tickets: str, number: int) -> str:
    """Prefix of all tickets for one number."""
    return f"{tickets}{number:08d}-"


def ticket_number(ticket: str) -> int:
    """The number that a ticket is for."""
    return int(ticket.rsplit("/", 1)[-1].split("-", maxsplit=1)[0])


def model_calibration(sha256: str, where: str) -> str:
    """Rows per predict call of an artifact, on an engine and kind of machine."""
    return f"calibrations/{sha256}/{hashlib.sha256(where.encode()).hexdigest()[:16]}.json"


def probe() -> str:
    """An object to try the store with, deleted at once."""
    return f"probe/{uuid.uuid4().hex}"


@dataclass(frozen=True, slots=True)
class JobKeys:
    """The keys of one job."""

    job_id: str

    @property
    def prefix(self) -> str:
        """Prefix of everything of the job."""
        return f"{JOBS_PREFIX}{self.job_id}/"

    @property
    def manifest(self) -> str:
        """The immutable description; the job exists from the moment that this object does."""
        return f"{self.prefix}manifest.json"

    def input(self, shard: int, sha256: str) -> str:
        """A shard's input. The digest keeps two submitters of one id out of each other's bytes."""
        return f"{self.prefix}input/{shard:08d}-{sha256[:16]}.npy"

    def item_ids(self, shard: int, sha256: str) -> str:
        """The caller's ids of a shard's items."""
        return f"{self.prefix}ids/{shard:08d}-{sha256[:16]}.json"

    def data(self, shard: int, attempt: str) -> str:
        """Probabilities that one attempt computed; never overwritten."""
        return f"{self.prefix}data/{shard:08d}/{attempt}.npy"

    @property
    def outcomes_prefix(self) -> str:
        """Prefix of all committed ends of shards."""
        return f"{self.prefix}outcome/"

    def outcome_blocks(self, shard_count: int | None) -> list[str]:
        """Prefixes that hold all outcomes of `shard_count` shards, at most a page each."""
        if shard_count is None:
            return [self.outcomes_prefix]
        return [self._outcome_block(shard) for shard in range(0, shard_count, _BLOCK_SHARDS)]

    def _outcome_block(self, shard: int) -> str:
        # Stores on disk keep a folder for it, and read and sort all of a folder for each page.
        return f"{self.outcomes_prefix}{shard // _BLOCK_SHARDS:05d}/"

    def outcome(self, shard: int) -> str:
        """The committed end of a shard."""
        return f"{self._outcome_block(shard)}{shard:08d}.json"

    @property
    def dead_prefix(self) -> str:
        """Prefix of dead ends of shards, on stores without conditional writes."""
        return f"{self.prefix}dead/"

    def dead(self, shard: int) -> str:
        """A shard's dead end on a store without conditional writes, where ok must beat dead."""
        return f"{self.dead_prefix}{shard:08d}.json"

    @property
    def control(self) -> str:
        """A request to cancel."""
        return f"{self.prefix}control.json"

    @property
    def final(self) -> str:
        """How the job ended."""
        return f"{self.prefix}final.json"


def inline_input(shard: int, sha256: str) -> str:
    """The name of a shard's input that stands in the manifest, and so in no job's folder."""
    return f"inline/{shard:08d}-{sha256[:16]}.npy"


def inline_item_ids(shard: int, sha256: str) -> str:
    """The name of item ids that stand in the manifest."""
    return f"inline/{shard:08d}-{sha256[:16]}.json"


def shard_of(outcome_key: str) -> int:
    """The shard that an outcome's or dead end's key belongs to."""
    return int(outcome_key.rsplit("/", 1)[-1].removesuffix(".json"))


@dataclass(frozen=True, slots=True)
class JobStateKeys:
    """The Redis keys of one job; all of them may be lost."""

    job_id: str

    @property
    def job(self) -> str:
        """Hash: `counted` while nothing was lost since submission, attempts, start of work in ms.

        For a small job also its number of shards and its deadline.
        """
        return f"fornada:job:{self.job_id}"

    @property
    def attempts(self) -> str:
        """Hash: shard without an outcome → ids of its attempts, separated by spaces."""
        return f"fornada:attempts:{self.job_id}"

    @property
    def errors(self) -> str:
        """Hash: shard without an outcome → the last error of an attempt that ended without one."""
        return f"fornada:errors:{self.job_id}"

    @property
    def leases(self) -> str:
        """Hash: shard → the attempt that holds it, and when its lease ends, in ms."""
        return f"fornada:leases:{self.job_id}"

    @property
    def enqueued(self) -> str:
        """Sorted set: shard → when its message was last enqueued, in ms; removed as work begins."""
        return f"fornada:enqueued:{self.job_id}"

    @property
    def done(self) -> str:
        """Bitmap: shards that have an outcome."""
        return f"fornada:done:{self.job_id}"

    @property
    def failed(self) -> str:
        """Hash: dead shard → `dead`; shard with failed items → their number."""
        return f"fornada:failed:{self.job_id}"

    @property
    def end(self) -> str:
        """String: the end that was first proposed for the job, where the store cannot decide."""
        return f"fornada:end:{self.job_id}"

    @property
    def counters(self) -> list[str]:
        """All of the above: of no use once the job has ended."""
        return [
            self.job,
            self.attempts,
            self.errors,
            self.leases,
            self.enqueued,
            self.done,
            self.failed,
            self.end,
        ]

    @property
    def ended(self) -> str:
        """String: the job's end state, kept for a while so that late messages cost nothing."""
        return f"fornada:ended:{self.job_id}"

    @property
    def end_lease(self) -> str:
        """String: who adds up the job's outcomes, while they renew."""
        return f"fornada:end-lease:{self.job_id}"


def redis_decision(question: str) -> str:
    """String: the first answer to what the store cannot decide."""
    return f"fornada:decided:{question}"


#: Set: ids of jobs that have not ended. A cache: the reconciler rebuilds it from the store.
REDIS_OPEN_JOBS = "fornada:open-jobs"

#: Sorted set: the newest jobs by time of submission in ms. A cache, rebuilt with the open jobs.
REDIS_NEWEST_JOBS = "fornada:newest-jobs"

#: String: present while REDIS_OPEN_JOBS and REDIS_NEWEST_JOBS are known to be complete.
REDIS_OPEN_JOBS_COMPLETE = "fornada:open-jobs-complete"

#: String: the reconciler that leads.
REDIS_RECONCILER_LEASE = "fornada:reconciler"


def redis_predict_calls(queue: str) -> str:
    """List: calls of `client.predict` that no worker has taken yet."""
    return f"fornada:predict:{queue}"


def redis_predict_answers(client: str) -> str:
    """List: answers to calls of one client, which takes them off."""
    return f"fornada:predicted:{client}"
