"""A form becomes a job: its files are cut into shards while they come."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from fornada.errors import FornadaError
from fornada.files.scratch import scratch_folder
from gateway.api.submitting.form_files import MOST_IMAGE_BYTES, ImageFeed, Spool, is_passed_through
from gateway.api.submitting.job_request import JobOptions
from gateway.api.submitting.submission import Submitting, parsed
from gateway.http.body_limits import TooLargeError
from gateway.http.forms import FormError, PartBegins, PartEnds, boundary_of, form_events
from producer.inputs.interface import ImageFile, LocalFiles
from producer.job import Job

#: The field with what is said of the job, in bytes.
_MOST_FIELD_BYTES = 64 * 1024
_MOST_NAME_CHARACTERS = 1024
#: Bytes of a file that are written to the disk together.
_WRITTEN_BYTES = 1024 * 1024


class FormSlots:
    """How many forms are read at a time; one owner cannot take all of that.

    Args:
        most: Forms of all owners.
        most_of_one: Forms of one.
    """

    def __init__(self, *, most: int, most_of_one: int) -> None:
        self._most_of_one = most_of_one
        self._all = asyncio.Semaphore(most)
        #: Owner -> what its forms wait for, while there are some.
        self._of_one: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def one(self, owner: str) -> AsyncIterator[None]:
        """Wait until a form of the owner may be read, and read it in the block."""
        own = self._of_one.get(owner) or asyncio.Semaphore(self._most_of_one)
        self._of_one[owner] = own
        async with own, self._all:
            yield


async def submit_form(request: Request, submitting: Submitting) -> Job:
    """The job of a form: the field `request`, then files, each of which is an item or a table.

    Images are cut into shards as they come. Other files wait in a temporary folder until all came.

    Raises:
        FormError: It is not such a form, or broke off.
        FornadaError: As `Client.submit`.
    """
    boundary = boundary_of(request.headers.get("Content-Type", ""))
    with ExitStack() as files:
        folder = await run_in_threadpool(files.enter_context, scratch_folder())
        form = _Form(submitting, folder)
        try:
            await form.read(request.stream(), boundary)
            return await form.job()
        except ClientDisconnect as exc:
            raise FormError("the form broke off; send it again") from exc
        finally:
            await form.give_up()
            await run_in_threadpool(files.close)


class _Form:
    """A form that is being read."""

    def __init__(self, submitting: Submitting, folder: Path) -> None:
        self._submitting = submitting
        self._options: JobOptions | None = None
        self._spool = Spool(folder)
        self._feed: ImageFeed | None = None
        self._running: asyncio.Task[Job] | None = None
        self._part: PartBegins | None = None
        self._data = bytearray()

    async def read(self, body: AsyncIterator[bytes], boundary: bytes) -> None:
        async for event in form_events(body, boundary=boundary):
            if isinstance(event, PartBegins):
                self._begin(event)
            elif isinstance(event, PartEnds):
                if not await self._end():
                    # The job is refused already; the rest is of no interest.
                    return
            else:
                self._data += event
                await self._check()

    async def job(self) -> Job:
        """The job, once all came."""
        if self._options is None:
            raise FormError("the form has no field request; send it first, as JSON")
        if self._feed is not None and self._running is not None:
            self._feed.end()
            return await self._running
        files = LocalFiles(paths=self._spool.paths)
        if not files.paths:
            raise FormError("the form has no file; send at least one, with a filename")
        try:
            return await run_in_threadpool(self._submitting.submit, self._options, files)
        except FornadaError as exc:
            # Where the files wait means nothing to their sender.
            text = exc.public_text.replace(f"{self._spool.folder}/", "")
            raise exc.with_public_text(text) from None

    async def give_up(self) -> None:
        """End a submission that still runs; nothing of it becomes a job."""
        if self._feed is not None and self._running is not None and not self._running.done():
            self._feed.end(FormError("the form broke off; send it again"))
            with contextlib.suppress(FornadaError):
                await self._running

    def _begin(self, part: PartBegins) -> None:
        self._part = part
        self._data.clear()
        if part.filename is None:
            if part.name != "request" or self._options is not None:
                raise FormError(
                    f"the form has a field {part.name[:80]!r}; send one field, request, and files"
                )
            return
        if self._options is None:
            raise FormError("a file comes before the field request; send request first")
        if not 0 < len(part.filename) <= _MOST_NAME_CHARACTERS:
            raise FormError(f"a file needs a filename, of {_MOST_NAME_CHARACTERS} characters")
        self._begin_file(part.filename, self._options)

    def _begin_file(self, name: str, options: JobOptions) -> None:
        passes = is_passed_through(name)
        if passes and not self._spool.paths:
            if self._feed is None:
                self._feed = ImageFeed()
                self._running = asyncio.create_task(self._run(options, self._feed))
        elif passes or self._feed is not None:
            raise FormError(
                f"{name[:80]!r} is of another kind than the files before; send it alone"
            )
        else:
            self._spool.begin(name)

    async def _run(self, options: JobOptions, feed: ImageFeed) -> Job:
        try:
            return await run_in_threadpool(self._submitting.submit, options, feed)
        finally:
            feed.abandon()

    async def _check(self) -> None:
        """Keep what is held of a part small."""
        is_field = self._part is None or self._part.filename is None
        if is_field and len(self._data) > _MOST_FIELD_BYTES:
            raise TooLargeError(f"the field request has over {_MOST_FIELD_BYTES} bytes")
        if is_field:
            return
        if self._feed is not None and len(self._data) > MOST_IMAGE_BYTES:
            raise TooLargeError(
                f"an image has over {MOST_IMAGE_BYTES} bytes; put it into the store, with "
                "POST /v1/uploads"
            )
        if self._feed is None and len(self._data) >= _WRITTEN_BYTES:
            await self._write()

    async def _end(self) -> bool:
        """Take a whole part; whether more is wanted."""
        part = self._part
        if part is None or part.filename is None:
            self._options = parsed(JobOptions, self._data)
            return True
        if self._feed is None:
            await self._write()
            return True
        image = ImageFile(name=part.filename, data=bytes(self._data), item_id=part.filename)
        self._data.clear()
        return await run_in_threadpool(self._feed.put, image)

    async def _write(self) -> None:
        await run_in_threadpool(self._spool.write, bytes(self._data))
        self._data.clear()
