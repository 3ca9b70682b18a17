"""Submit many jobs at once: those that are small share their round trips."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from fornada.errors import FornadaError, InputError, PartlySubmittedError, UsageError
from fornada.formats.items import Array
from fornada.jobs.manifest import JobManifest
from fornada.parallel import in_parallel
from producer.job import Job
from producer.submitting.submission import Options, Submission
from producer.submitting.submitter import PreparedSubmission, Submitter

#: Jobs that go each its own way; each uploads by threads of its own.
_SIDE_BY_SIDE = 4


def submit_many(
    submissions: Iterable[Submission | Array], options: Options, *, submitter: Submitter
) -> list[JobManifest | FornadaError]:
    """The manifest of each submission's job, in order, or why there is none.

    Raises:
        FornadaError: Nothing was submitted.
    """
    options.check()
    given = [s if isinstance(s, Submission) else Submission(images=s) for s in submissions]
    prepared = _prepared(given, options, submitter)
    deadline = submitter.deadline(options) if prepared else None
    small = {
        number: submitter.small_job(one, deadline)
        for number, one in enumerate(prepared)
        if one.is_small_and_new
    }
    failed = submitter.accept_small(list(small.values()))
    found: dict[int, JobManifest | FornadaError] = {
        number: failed.get(job.manifest.job_id, job.manifest) for number, job in small.items()
    }
    rest = [number for number in range(len(prepared)) if number not in small]

    def finish(number: int) -> JobManifest | FornadaError:
        try:
            return submitter.finish(prepared[number], options)
        except FornadaError as exc:
            return exc

    if rest:
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            found |= zip(rest, pool.map(finish, rest), strict=True)
    return [found[number] for number in range(len(prepared))]


def accepted(
    found: Sequence[JobManifest | FornadaError], as_job: Callable[[JobManifest], Job]
) -> list[Job]:
    """The jobs that `submit_many` found.

    Raises:
        PartlySubmittedError: Some failed; it has the others.
        FornadaError: All failed; the first one's.
    """
    errors = {n: each for n, each in enumerate(found) if isinstance(each, FornadaError)}
    jobs = [None if isinstance(each, FornadaError) else as_job(each) for each in found]
    if errors:
        number, first = next(iter(errors.items()))
        if len(errors) == len(found):
            raise first
        raise PartlySubmittedError(
            f"{len(errors)} of {len(found)} submissions failed; submissions[{number}]: {first}",
            jobs=jobs,
            errors=errors,
        )
    return [job for job in jobs if job is not None]


def _prepared(
    given: Sequence[Submission], options: Options, submitter: Submitter
) -> list[PreparedSubmission]:
    """All submissions, looked at before anything is stored of the first."""
    if not given:
        return []
    keys = [submission.idempotency_key for submission in given]
    _check_keys(keys)
    existing = dict(zip(keys, in_parallel(submitter.existing, keys), strict=True))
    newest = submitter.resolve(options.model)
    prepared: list[PreparedSubmission] = []
    for number, submission in enumerate(given):
        known = existing[submission.idempotency_key]
        model = newest if known is None else submitter.resolve(options.model, known)
        try:
            one = submitter.prepare(submission, options, model=model, existing=known)
        except (InputError, UsageError) as exc:
            raise type(exc)(f"submissions[{number}]: {exc}") from exc
        prepared.append(one)
    return prepared


def _check_keys(keys: Sequence[str | None]) -> None:
    twice = [key for key, count in Counter(keys).items() if key is not None and count > 1]
    if twice:
        raise UsageError(
            f"idempotency key {twice[0]!r} is given to {keys.count(twice[0])} submissions; give "
            "each a key of its own"
        )
