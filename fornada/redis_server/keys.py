"""Every name in Redis. All of it may be lost."""

from dataclasses import dataclass

#: Begins the key of a job's counters.
JOB_PREFIX = "fornada:job:"
#: Begins the channel of a job's notices.
NOTICES_PREFIX = "fornada:notices:"
_READERS_PREFIX = "fornada:notices-reader:"


@dataclass(frozen=True, slots=True)
class JobStateKeys:
    """The Redis keys of one job; all may be lost."""

    job_id: str

    @property
    def job(self) -> str:
        """Hash: `counted` if nothing was lost, attempts, start, trace; facts of a small job."""
        return f"{JOB_PREFIX}{self.job_id}"

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

    def lease_to(self, task: str) -> str:
        """String: the lease of the process that does it with the job, as one of a shard."""
        return f"fornada:{task}-lease:{self.job_id}"


def notices(job_id: str) -> str:
    """Channel: what happens to the job, `progress` or `ended`."""
    return f"{NOTICES_PREFIX}{job_id}"


def job_noticed(channel: str) -> str | None:
    """The job that a channel is about; `None` of any other channel."""
    return channel.removeprefix(NOTICES_PREFIX) if channel.startswith(NOTICES_PREFIX) else None


def notices_reader(reader_id: str) -> str:
    """Channel: wakes one process's reader of notices."""
    return f"{_READERS_PREFIX}{reader_id}"


def decision(question: str) -> str:
    """String: the first answer to a question that the store cannot decide."""
    return f"fornada:decided:{question}"


#: Set: ids of jobs that have not ended; a cache that the reconciler rebuilds from the store.
OPEN_JOBS = "fornada:open-jobs"
#: Hash: job that cannot be read → why.
UNREADABLE_JOBS = "fornada:unreadable-jobs"
#: Sorted set: the newest jobs by time of submission in ms. A cache, rebuilt with the open jobs.
NEWEST_JOBS = "fornada:newest-jobs"
#: String: present while OPEN_JOBS and NEWEST_JOBS are known to be complete.
OPEN_JOBS_COMPLETE = "fornada:open-jobs-complete"
#: String: present while nothing was forgotten of the jobs of owners.
OWNERS_COMPLETE = "fornada:owners-complete"
#: Hash: worker process -> when it last reported, in ms, and what.
WORKERS = "fornada:workers"
#: String: the id of the bucket whose jobs these are.
BUCKET = "fornada:bucket"
#: Begins the key of a queue's leader.
LEADER_PREFIX = "fornada:leader:"


def leader(queue: str) -> str:
    """Hash: the `beat` of the queue's leading reconciler, when that was, and the queue's clock."""
    return f"{LEADER_PREFIX}{queue}"


def owned_jobs(owner: str) -> str:
    """Sorted set: the newest jobs of an owner by time of submission in ms. A cache."""
    return f"fornada:owned-jobs:{owner}"


def quarantine(queue: str) -> str:
    """List: what lay on the queue and is no message, newest first."""
    return f"fornada:quarantine:{queue}"


def predict_calls(queue: str) -> str:
    """List: calls of `client.predict` that no worker has taken yet."""
    return f"fornada:predict:{queue}"


def predict_answers(client: str) -> str:
    """List: answers for one client, which collects them."""
    return f"fornada:predicted:{client}"
