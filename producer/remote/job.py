"""A job behind a gateway."""

import json
import math
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from fornada.errors import WaitTimeoutError
from fornada.figures.shown import Figures
from fornada.jobs.outcome import JobState
from producer.job_reader import DeadShard, FailedItem
from producer.job_status import JobStatus
from producer.remote.gateway import Gateway, GatewayError, Query, SilentError, split_lines

_FIGURES: TypeAdapter[Figures | None] = TypeAdapter(Figures | None)
_FIRST_POLL_S = 0.1
_LAST_POLL_S = 2.0
#: How long a gateway may not be reached while somebody waits.
_UNREACHABLE_S = 30.0


class RemoteJob:
    """A job; every call asks the gateway."""

    def __init__(self, document: dict[str, Any], *, gateway: Gateway) -> None:
        self._document = document
        self._gateway = gateway
        #: Whether a stream of events is worth a try.
        self._hears = True

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self._document["id"])

    @property
    def item_count(self) -> int:
        """Items in all shards."""
        return int(self._document["counts"]["total"])

    @property
    def allows_failed_items(self) -> bool:
        """Whether its submitter said how many items may fail."""
        return self._document.get("max_failed") is not None

    @property
    def _path(self) -> str:
        return f"/v1/jobs/{self.id}"

    def status(self) -> JobStatus:
        """The job's state now."""
        self._document = self._gateway.get(self._path)
        return status_of(self._document)

    def wait(
        self,
        timeout_s: float | None = None,
        *,
        on_progress: Callable[[JobStatus], None] | None = None,
    ) -> JobStatus:
        """Wait until the job ends; as `Job.wait`.

        Raises:
            WaitTimeoutError: It did not end in time; it continues.
            GatewayError: The gateway cannot be reached for half a minute.
        """
        until = math.inf if timeout_s is None else time.monotonic() + timeout_s
        pause_s = _FIRST_POLL_S
        reached_at = time.monotonic()
        while True:
            try:
                for status in self._statuses(until):
                    reached_at = time.monotonic()
                    pause_s = _FIRST_POLL_S if self._hears else pause_s
                    if on_progress is not None:
                        on_progress(status)
                    if status.ended:
                        return status
            except GatewayError:
                # It may be replaced just now.
                if time.monotonic() > reached_at + _UNREACHABLE_S:
                    raise
            left_s = until - time.monotonic()
            if left_s <= 0:
                status = status_of(self._document)
                why = "" if status.reason is None else f" ({status.reason})"
                raise WaitTimeoutError(
                    f"job {self.id} has {status.shards_done} of {status.shards} shards after "
                    f"{timeout_s:g} s{why}; it continues, so wait again"
                )
            time.sleep(min(pause_s, left_s))
            pause_s = min(_LAST_POLL_S, pause_s * 1.5)

    def _statuses(self, until: float) -> Iterator[JobStatus]:
        """The job's status now, and, where its events are heard, each that follows."""
        yield self.status()
        left_s = until - time.monotonic()
        if not self._hears or left_s <= 0:
            return
        try:
            for event in self._gateway.events(f"{self._path}/events", timeout_s=left_s):
                self._document = event.data
                yield status_of(event.data)
        except SilentError:
            # From now on the job is asked for.
            self._hears = time.monotonic() >= until

    def cancel(self, reason: str) -> JobStatus:  # noqa: ARG002 - the gateway says who cancels
        """Stop the job; as `Job.cancel`."""
        return status_of(self._gateway.post(f"{self._path}/cancel"))

    def item_errors(self) -> Iterator[FailedItem]:
        """The failed items, in order, and why."""
        for line in split_lines(self._gateway.chunks(f"{self._path}/errors")):
            found = json.loads(line)
            yield FailedItem(found["item"], found["item_id"], found["reason"])

    def dead_shards(self) -> Iterator[DeadShard]:
        """The dead shards, in order, and why."""
        for shard in pages(self._gateway, f"{self._path}/shards", {"state": "dead"}):
            yield DeadShard(
                shard=shard["shard"],
                first_item=shard["first_item"],
                item_count=shard["items"],
                reason=shard["reason"] or "",
                detail=shard["detail"] or "",
            )

    def results(
        self, fmt: str, *, top_k: int | None = None, partial: bool = False
    ) -> Iterator[bytes]:
        """The results as the bytes of a file of that format, as they come."""
        query = {"format": fmt, "top_k": top_k, "partial": "true" if partial else None}
        return self._gateway.chunks(f"{self._path}/results", query)


def pages(gateway: Gateway, path: str, query: Query) -> Iterator[dict[str, Any]]:
    """All that a listing has, page by page."""
    cursor: str | None = None
    while True:
        page = gateway.get(path, {**query, "cursor": cursor})
        yield from page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def status_of(document: dict[str, Any]) -> JobStatus:
    """The status that a job's document states."""
    counts, shards, model = document["counts"], document["shards"], document["model"]
    return JobStatus(
        job_id=document["id"],
        state=JobState(document["state"]),
        model=f"{model['name']}:{model['version']}",
        model_sha256=model["sha256"],
        items=counts["total"],
        items_done=counts["total"] - counts["pending"],
        items_ok=counts["ok"],
        items_failed=counts["failed"],
        shards=shards["total"],
        shards_done=shards["done"],
        shards_dead=shards["dead"],
        shards_running=shards["running"],
        shards_queued=shards["queued"] + (shards["waiting"] or 0),
        shards_waiting=shards["waiting"],
        attempts=document["attempts"],
        orientations_ignored=document["orientations_ignored"],
        figures=_FIGURES.validate_python(document.get("figures")),
        created_at=datetime.fromisoformat(document["created_at"]),
        started_at=_moment(document["started_at"]),
        ended_at=_moment(document["ended_at"]),
        items_per_s=document["items_per_s"],
        eta_s=document["eta_s"],
        reason=document["reason"],
        tags=document["tags"],
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
