"""Delete jobs by age."""

import re
from datetime import datetime, timedelta

from fornada import keys
from fornada.errors import JobNotFoundError, MessageError, UsageError
from fornada.jobs.store import JobStore
from fornada.records import now
from producer.upkeep.retry import RETRY_OF
from producer.upkeep.verification import VERIFIES

#: A stream of images may pause, and is uploaded before there is a job.
_LEAST_LEFT_OVER = timedelta(days=1)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_age(text: str) -> timedelta:
    """`90m`, `12h`, `30d` or `2w` as a span of time.

    Raises:
        UsageError: It is none of these.
    """
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if match is None:
        raise UsageError(f"{text!r} is not an age; write a number and m, h, d or w, such as 30d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def purge(jobs: JobStore, *, older_than: timedelta) -> list[str]:
    """Delete jobs that ended longer ago than `older_than`; return their ids.

    A job that has not ended is never deleted, nor one whose images an open retry or verification
    reads. What a submission left behind that ended before there was a job goes too.
    """
    limit = now() - older_than
    old: list[str] = []
    in_use: set[str] = set()
    for job_id in jobs.job_ids():
        try:
            final = jobs.final(job_id)
            if final is None:
                tags = jobs.manifest(job_id).tags
                in_use.update(tags[name] for name in (RETRY_OF, VERIFIES) if name in tags)
            elif final.ended_at < limit:
                old.append(job_id)
        except JobNotFoundError:
            if _is_left_over(jobs, job_id, limit=min(limit, now() - _LEAST_LEFT_OVER)):
                old.append(job_id)
        except MessageError:  # not ours to read
            continue
    purged = [job_id for job_id in old if job_id not in in_use]
    for job_id in purged:
        jobs.delete(job_id)
    return purged


def _is_left_over(jobs: JobStore, job_id: str, *, limit: datetime) -> bool:
    """Whether nothing was added to what has no manifest since `limit`."""
    found = jobs.objects.list(keys.JobKeys(job_id).prefix)
    return max((info.modified_at for info in found), default=limit) < limit
