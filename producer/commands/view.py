"""How the command line shows a job: as a table, as JSON, as a progress bar."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fornada.commands.output import console, print_json, print_table
from fornada.errors import JobFailedError
from fornada.figures.shown import PredictedFigures
from fornada.logs import get_logger
from producer.inputs.interface import LeftOut
from producer.job import Job
from producer.job_reader import DeadShard
from producer.job_status import JobStatus
from producer.remote.job import RemoteJob
from producer.upkeep.verification import Verification

log = get_logger(__name__)

#: Dead shards that a table lists.
_DEAD_SHOWN = 10
#: Classes that it lists, those of the most items.
_CLASSES_SHOWN = 10


def watch(job: Job | RemoteJob, *, timeout_s: float | None) -> JobStatus:
    """Wait with a progress bar on a terminal, elsewhere with a log line for each change."""
    if not sys.stderr.isatty():
        return job.wait(timeout_s, on_progress=_ChangeLogger())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("items  {task.fields[rate]}{task.fields[failed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(err=True)) as progress:
        task = progress.add_task("QUEUED", total=job.item_count, rate="", failed="")

        def update(status: JobStatus) -> None:
            rate = f"{status.items_per_s:,.0f}/s" if status.items_per_s else ""
            failed = f"  [red]{status.items_failed:,} failed[/]" if status.items_failed else ""
            done = status.items_done
            progress.update(
                task, description=status.state, completed=done, rate=rate, failed=failed
            )

        return job.wait(timeout_s, on_progress=update)


class _ChangeLogger:
    """Logs each change of the progress."""

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None

    def __call__(self, status: JobStatus) -> None:
        seen = (status.state, status.items_done)
        if seen != self._last:
            self._last = seen
            log.info(
                "job progress",
                job_id=status.job_id,
                state=status.state,
                items=status.items_done,
                failed=status.items_failed,
                running_shards=status.shards_running,
            )


def finish(
    job: Job | RemoteJob, status: JobStatus, *, left_out: LeftOut | None = None, as_json: bool
) -> None:
    """Print how the job ended.

    Raises:
        JobFailedError: It did not end SUCCEEDED, nor PARTIAL with its failed items allowed.
    """
    print_status(status, left_out=left_out, as_json=as_json)
    allowed = {"SUCCEEDED", "PARTIAL"} if job.allows_failed_items else {"SUCCEEDED"}
    if status.state not in allowed:
        raise JobFailedError(
            f"job {status.job_id} ended {status.state}: {status.reason}; see "
            f"`fornada jobs errors {status.job_id}`"
        )


def require_same(found: Verification) -> None:
    """Raise an error that names the first difference, if there is one.

    Raises:
        JobFailedError: A result differs.
    """
    if found.same:
        return
    remedy = "compare the workers' machines and versions"
    if found.engines is not None:
        remedy = f"it was computed on {found.engines[0]}, now on {found.engines[1]}"
    first, what = found.first_difference, "in bytes, and in no value"
    if first is not None:
        what = (
            f"shard {first.shard}, item {first.item}, {first.column!r} of output {first.output!r} "
            f"was {first.recorded!r} and is {first.recomputed!r}"
        )
    raise JobFailedError(
        f"{found.shards_differing} of {found.shards} shards of job {found.job_id} differ: {what}; "
        f"{remedy}"
    )


def print_status(
    status: JobStatus,
    *,
    dead: Sequence[DeadShard] = (),
    left_out: LeftOut | None = None,
    as_json: bool,
) -> None:
    """Print a job's state and why shards are dead; as JSON also the files that were left out."""
    if as_json:
        files = {} if left_out is None else {"left_out": asdict(left_out)}
        print_json(plain(status) | {"dead": [asdict(shard) for shard in dead]} | files)
        return
    rows = [(name, value) for name, value in _rows(status).items() if value]
    for shard in dead[:_DEAD_SHOWN]:
        last_item = shard.first_item + shard.item_count - 1
        where = f"items {shard.first_item} to {last_item}"
        rows.append((f"dead shard {shard.shard}", f"{where}, {shard.reason}: {shard.detail}"))
    if len(dead) > _DEAD_SHOWN:
        rows.append(("", f"and {len(dead) - _DEAD_SHOWN} more, see --json"))
    print_table(rows)


def _rows(status: JobStatus) -> dict[str, str | None]:
    unfinished = f"{status.shards_running} running, {status.shards_queued} queued"
    return {
        "job": status.job_id,
        "state": status.state,
        "model": f"{status.model} (sha256 {status.model_sha256[:12]}…)",
        "items": f"{status.items_done} of {status.items} done, {_known(status.items_ok)} ok, "
        f"{_known(status.items_failed)} failed",
        "shards": f"{status.shards_done} of {status.shards} done, {_known(status.shards_dead)} "
        "dead" + ("" if status.ended else f", {unfinished}"),
        "attempts": _known(status.attempts),
        "orientation": _ignored(status),
        "submitted": _moment(status.created_at),
        "started": _moment(status.started_at),
        "ended": _moment(status.ended_at),
        "rate": f"{status.items_per_s:,.0f} items/s" if status.items_per_s else None,
        "left": f"about {status.eta_s:,.0f} s" if status.eta_s else None,
        "reason": status.reason,
        **_figures(status),
        **{f"tag {key}": value for key, value in status.tags.items()},
    }


def _figures(status: JobStatus) -> dict[str, str | None]:
    """What an ended job took and predicted."""
    found = status.figures
    if found is None:
        # Of a job without any outcome there is nothing to know.
        return {"cpu time": "unknown" if status.ended and status.shards_done else None}
    some = "" if found.shards == status.shards else f", of {found.shards} shards"
    rows: dict[str, str | None] = {
        "cpu time": f"{found.cpu_s:,.2f} s{some}",
        "bytes": f"{found.bytes_in:,} in, {found.bytes_out:,} out",
        "cost": None if found.cost is None else f"{found.cost:,.6g}",
    }
    for output in found.predicted:
        of = f" of {output.output}" if len(found.predicted) > 1 else ""
        rows[f"classes{of}"] = _classes(output)
        rows[f"confidence{of}"] = _confidence(output)
    return rows


def _classes(output: PredictedFigures) -> str | None:
    found = sorted((each for each in output.classes if each.items), key=lambda each: -each.items)
    text = ", ".join(f"{each.name} {each.items:,}" for each in found[:_CLASSES_SHOWN])
    rest = len(found) - _CLASSES_SHOWN
    return f"{text}, and {rest} more, see --json" if rest > 0 else text


def _confidence(output: PredictedFigures) -> str | None:
    if output.mean_confidence is None:
        return None
    deciles = " ".join(f"{each:.3f}" for each in output.confidence_deciles)
    return f"mean {output.mean_confidence:.3f}, deciles {deciles}"


def _ignored(status: JobStatus) -> str | None:
    count = status.orientations_ignored
    return f"ignored of {count} photographs, as the model's manifest says" if count else None


def _known(count: int | None) -> str:
    # Redis was emptied while the job was open; the store counts at its end.
    return "unknown" if count is None else str(count)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%F %T}Z"


def plain(status: JobStatus) -> dict[str, Any]:
    """The status as JSON values."""
    values = asdict(status)
    for name in ("created_at", "started_at", "ended_at"):
        values[name] = values[name] and values[name].isoformat()
    return values
