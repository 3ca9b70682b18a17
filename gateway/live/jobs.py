"""The jobs that callers of this gateway follow, each looked at once for all of them."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.live.feed import JobFeed, View
from producer.job import Job

#: A comment is sent after this long without an event, so that nobody in between cuts the stream.
_KEEP_ALIVE_S = 15.0
#: Whether who follows still may is asked this often.
_CHECK_EVERY_S = 5.0
#: A stream ends after this long: whoever follows on connects again.
_LONGEST_S = 3600.0
#: Time after which a browser connects again, in ms.
_RETRY_MS = 2000


class LiveJobs:
    """Streams of events; belongs to one event loop."""

    def __init__(self) -> None:
        self._feeds: dict[tuple[str, bool], JobFeed] = {}
        self._is_closed = False

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        for feed in self._feeds.values():
            feed.stop()

    async def events(
        self, job: Job, *, shards: bool, still_may: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        """The events of a job as `text/event-stream`; the first has all that is known now.

        A reader that is behind misses what is out of date by then: no more than the newest event is
        kept, whoever reads it.

        Args:
            job: The job.
            shards: Also which shards changed.
            still_may: Whether who follows still may; the stream ends where not.
        """
        key = (job.id, shards)
        feed = self._feeds.get(key)
        if feed is None or feed.is_over:
            feed = self._feeds[key] = JobFeed(job, shards=shards)
        feed.follower_count += 1
        try:
            async for event in self._follow(feed, still_may):
                yield event
        finally:
            feed.follower_count -= 1
            if not feed.follower_count:
                feed.stop()
                if self._feeds.get(key) is feed:
                    del self._feeds[key]

    async def _follow(
        self, feed: JobFeed, still_may: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        yield f"retry: {_RETRY_MS}\n\n".encode()
        seen: View | None = None
        began = checked = said = time.monotonic()
        while not self._is_closed and time.monotonic() < began + _LONGEST_S:
            view = await feed.wait(seen, timeout_s=min(_CHECK_EVERY_S, _KEEP_ALIVE_S))
            now = time.monotonic()
            if now >= checked + _CHECK_EVERY_S:
                if not await still_may():
                    return
                checked = now
            if view is None or view is seen:
                if feed.is_over:
                    return
                if now >= said + _KEEP_ALIVE_S:
                    said = now
                    yield b": still here\n\n"
                continue
            is_next = seen is not None and view.number == seen.number + 1
            changes = view.changes if is_next else view.shards
            if changes:
                yield _event("shard", changes)
            yield _event("ended" if view.ended else "progress", view.document)
            if view.ended:
                return
            seen, said = view, now


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
