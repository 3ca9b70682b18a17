"""The name of every object, Redis key, queue and task, and the rules for names: nowhere else."""

import hashlib
import re
import uuid

from fornada.errors import UsageError

#: The one Celery task. Producers in any language address it by this name.
TASK_RUN_SHARD = "fornada.run_shard"

MODELS_PREFIX = "models/"
JOBS_PREFIX = "jobs/"
#: The training report, beside the artifact.
REPORT_PAGE = "report.html"

#: What S3 lists in one page.
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


def model_prefix(name: str) -> str:
    """Everything of one model."""
    return f"{MODELS_PREFIX}{name}/"


def model_version_prefix(name: str, version: int) -> str:
    """Everything of one version of a model."""
    return f"{model_prefix(name)}{version}/"


def model_claim(name: str, version: int) -> str:
    """Who first claimed a version number."""
    return f"{model_version_prefix(name, version)}claim.json"


def model_manifest(name: str, version: int) -> str:
    """The manifest; a version exists from the moment that this object does."""
    return f"{model_version_prefix(name, version)}manifest.json"


def model_artifact(name: str, version: int) -> str:
    """The `.keras` file."""
    return f"{model_version_prefix(name, version)}model.keras"


def model_signature(name: str, version: int, key_id: str) -> str:
    """A signature of the manifest, by the key of that id."""
    return f"{model_version_prefix(name, version)}signatures/{key_id}.json"


def model_aliases_prefix(name: str) -> str:
    """All aliases of a model."""
    return f"{model_prefix(name)}aliases/"


def model_alias_prefix(name: str, alias: str) -> str:
    """All moves of an alias, in order; the last one counts."""
    return f"{model_aliases_prefix(name)}{alias}/"


def model_alias_move(name: str, alias: str, number: int) -> str:
    """One move of an alias; never overwritten."""
    return f"{model_alias_prefix(name, alias)}{number:08d}.json"


def is_alias_move(key: str) -> bool:
    """Whether a key is that of a move, and not of something that was put beside it."""
    return _ALIAS_MOVE.fullmatch(key) is not None


def alias_of(move_key: str) -> str:
    """The alias that a move's key belongs to."""
    return move_key.rsplit("/", 2)[-2]


def alias_move_number(move_key: str) -> int:
    """Which move of its alias a move's key is, from 1."""
    return int(move_key.rsplit("/", 1)[-1].removesuffix(".json"))


def model_version_tickets(name: str) -> str:
    """Who claims which version, on stores without conditional writes."""
    return f"{model_prefix(name)}tickets/versions/"


def model_alias_tickets(name: str, alias: str) -> str:
    """Who claims which move of an alias, on stores without conditional writes."""
    return f"{model_prefix(name)}tickets/aliases/{alias}/"


def ticket_prefix(tickets: str, number: int) -> str:
    """All tickets for one number."""
    return f"{tickets}{number:08d}-"


def ticket_number(ticket: str) -> int:
    """The number that a ticket is for."""
    return int(ticket.rsplit("/", 1)[-1].split("-", maxsplit=1)[0])


def model_calibration(sha256: str, where: str) -> str:
    """How many rows a call of the artifact has, on an engine and kind of machine."""
    return f"calibrations/{sha256}/{hashlib.sha256(where.encode()).hexdigest()[:16]}.json"


def probe() -> str:
    """An object to try the store with, deleted at once."""
    return f"probe/{uuid.uuid4().hex}"


def job_prefix(job_id: str) -> str:
    """Everything of one job."""
    return f"{JOBS_PREFIX}{job_id}/"


def job_manifest(job_id: str) -> str:
    """The immutable description of a job; a job exists from the moment that this object does."""
    return f"{job_prefix(job_id)}manifest.json"


def job_input(job_id: str, shard: int, sha256: str) -> str:
    """A shard's input. The digest keeps two submitters of one id out of each other's bytes."""
    return f"{job_prefix(job_id)}input/{shard:08d}-{sha256[:16]}.npy"


def inline_input(shard: int, sha256: str) -> str:
    """The name of a shard's input that is in the manifest, and so in no job's folder."""
    return f"inline/{shard:08d}-{sha256[:16]}.npy"


def inline_item_ids(shard: int, sha256: str) -> str:
    """The name of the ids of a shard's items that are in the manifest."""
    return f"inline/{shard:08d}-{sha256[:16]}.json"


def job_item_ids(job_id: str, shard: int, sha256: str) -> str:
    """The caller's ids of a shard's items."""
    return f"{job_prefix(job_id)}ids/{shard:08d}-{sha256[:16]}.json"


def job_data(job_id: str, shard: int, attempt: str) -> str:
    """Probabilities that one attempt computed; never overwritten."""
    return f"{job_prefix(job_id)}data/{shard:08d}/{attempt}.npy"


def job_outcomes_prefix(job_id: str) -> str:
    """All committed ends of a job's shards."""
    return f"{job_prefix(job_id)}outcome/"


def job_outcome_blocks(job_id: str, shard_count: int | None) -> list[str]:
    """Prefixes that have all outcomes of so many shards between them, each of a page at most."""
    if shard_count is None:
        return [job_outcomes_prefix(job_id)]
    return [_outcome_block(job_id, shard) for shard in range(0, shard_count, _BLOCK_SHARDS)]


def _outcome_block(job_id: str, shard: int) -> str:
    # Stores on disk keep a folder for it, and read and sort all of a folder for each page.
    return f"{job_outcomes_prefix(job_id)}{shard // _BLOCK_SHARDS:05d}/"


def job_outcome(job_id: str, shard: int) -> str:
    """The committed end of a shard."""
    return f"{_outcome_block(job_id, shard)}{shard:08d}.json"


def job_dead_prefix(job_id: str) -> str:
    """Dead ends of shards, on stores without conditional writes."""
    return f"{job_prefix(job_id)}dead/"


def job_dead(job_id: str, shard: int) -> str:
    """A shard's dead end on a store without conditional writes, where ok must beat dead."""
    return f"{job_dead_prefix(job_id)}{shard:08d}.json"


def job_control(job_id: str) -> str:
    """A request to cancel."""
    return f"{job_prefix(job_id)}control.json"


def job_final(job_id: str) -> str:
    """How the job ended."""
    return f"{job_prefix(job_id)}final.json"


def shard_of(outcome_key: str) -> int:
    """The shard that an outcome's or dead end's key belongs to."""
    return int(outcome_key.rsplit("/", 1)[-1].removesuffix(".json"))


def redis_job(job_id: str) -> str:
    """Hash: `counted` while nothing was lost since submission, attempts, when work began, in ms.

    Of a small job also how many shards it has, and its deadline.
    """
    return f"fornada:job:{job_id}"


def redis_attempts(job_id: str) -> str:
    """Hash: shard without an outcome → ids of its attempts, a space between."""
    return f"fornada:attempts:{job_id}"


def redis_errors(job_id: str) -> str:
    """Hash: shard without an outcome → the last error of an attempt that ended without one."""
    return f"fornada:errors:{job_id}"


def redis_leases(job_id: str) -> str:
    """Hash: shard → the attempt that is at work on it, and until when it renews no more, in ms."""
    return f"fornada:leases:{job_id}"


def redis_enqueued(job_id: str) -> str:
    """Sorted set: shard → when its message was last enqueued, in ms; removed as work begins."""
    return f"fornada:enqueued:{job_id}"


def redis_done(job_id: str) -> str:
    """Bitmap: shards that have an outcome."""
    return f"fornada:done:{job_id}"


def redis_failed(job_id: str) -> str:
    """Hash: shard that is dead → `dead`; shard with failed items → how many."""
    return f"fornada:failed:{job_id}"


def redis_end(job_id: str) -> str:
    """String: the end that was first proposed for the job, where the store cannot decide."""
    return f"fornada:end:{job_id}"


def redis_counters(job_id: str) -> list[str]:
    """All of the above: what is of no use once the job has ended."""
    named = (redis_job, redis_attempts, redis_errors, redis_leases, redis_enqueued)
    return [key(job_id) for key in (*named, redis_done, redis_failed, redis_end)]


def redis_ended(job_id: str) -> str:
    """String: the job's end state, for a while, so that messages left in the queue cost nothing."""
    return f"fornada:ended:{job_id}"


def redis_end_lease(job_id: str) -> str:
    """String: who adds up the job's outcomes, for as long as he renews."""
    return f"fornada:end-lease:{job_id}"


def redis_decision(question: str) -> str:
    """String: the first answer to what the store cannot decide."""
    return f"fornada:decided:{question}"


#: Set: ids of jobs that have not ended. A cache: the reconciler rebuilds it from the store.
REDIS_OPEN_JOBS = "fornada:open-jobs"

#: String: present while REDIS_OPEN_JOBS is known to be complete.
REDIS_OPEN_JOBS_COMPLETE = "fornada:open-jobs-complete"

#: String: the reconciler that leads.
REDIS_RECONCILER_LEASE = "fornada:reconciler"


def redis_predict_calls(queue: str) -> str:
    """List: calls of `client.predict` that no worker has taken yet."""
    return f"fornada:predict:{queue}"


def redis_predict_answers(client: str) -> str:
    """List: answers to calls of one client, which takes them off."""
    return f"fornada:predicted:{client}"
