"""Image files in stored tars: found as by reading all, with fewer bytes, in parallel requests."""

import io
import random
import tarfile
import threading
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest

from fornada.errors import FornadaError, InputError, StoreUnavailableError
from fornada.formats.tar import TarMember, tar_members
from fornada.jobs.shard_files import fetch_archive
from fornada.jobs.store import JobStore
from fornada.settings import Settings
from fornada.storage.interface import ObjectInfo, StoredObject
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import InputTensor
from fornada.trust.input_prefixes import InputPrefixes
from producer.inputs.interface import Signature, StoredImages
from producer.inputs.stored_images import FoundObject
from producer.inputs.stored_tar import chains
from producer.inputs.stored_tar.members import StoredArchives
from producer.submitting.shards import ShardLimits
from producer.submitting.stored.sharding import cut_stored
from producer.submitting.upload import upload

_BUCKET = "lake"
_FORMS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
#: A request of the delayed store; nothing is asserted of it.
_DELAY_S = 0.02


class _Counting(InMemoryObjectStore):
    """Counts bytes that it gives, and requests, in all and at a time."""

    def __init__(self, *, delay_s: float = 0) -> None:
        super().__init__()
        self._delay_s = delay_s
        self._now = 0
        self._counting = threading.Lock()
        self.sent_bytes = self.requests = self.most_at_once = 0
        #: May fail, or change what is there.
        self.before: Callable[[int], None] = lambda _first_byte: None

    def get_range(self, key, *, first_byte, size_bytes, bucket=None):  # noqa: ANN001, ANN202 - as the base
        with self._counting:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        self.before(first_byte)
        threading.Event().wait(self._delay_s)
        # Without the digest of all, which the base makes for each request.
        data = self._objects[bucket, key][first_byte : first_byte + size_bytes]
        with self._counting:
            self._now -= 1
            self.requests += 1
            self.sent_bytes += len(data)
        return StoredObject(data=data, etag=f"{len(self._objects[bucket, key])}")

    def list(self, prefix, *, bucket=None):  # noqa: ANN001, ANN202 - as the base
        for info in super().list(prefix, bucket=bucket):
            yield ObjectInfo(
                key=info.key,
                size_bytes=info.size_bytes,
                etag=f"{info.size_bytes}",
                modified_at=info.modified_at,
            )


def _archive(
    files: Sequence[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT, *, kind: bytes = b"0"
) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for number, (name, data) in enumerate(files):
            member = tarfile.TarInfo(name)
            member.type = kind
            member.size = len(data)
            # A fraction goes into an attribute, as Python's own `add` writes it.
            member.mtime = number + 0.5 if form == tarfile.PAX_FORMAT else number
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def _photographs(count: int, *, least: int, most: int, first: int = 0) -> list[tuple[str, bytes]]:
    """Files of all sizes between, each size class as frequent."""
    rng = random.Random(f"{count} {first}")
    sizes = [int(least * (most / least) ** rng.random()) for _ in range(count)]
    return [(f"{first + n:05}.jpg", bytes([n % 256]) * size) for n, size in enumerate(sizes)]


def _found(objects: InMemoryObjectStore) -> list[FoundObject]:
    listed = objects.list("", bucket=_BUCKET)
    return [FoundObject(info=info, bucket=_BUCKET, kind="tar") for info in listed]


def _members(objects: InMemoryObjectStore) -> list[TarMember]:
    stored, found = StoredImages(bucket=_BUCKET, prefix=""), _found(objects)
    with StoredArchives(found, stored, objects=objects) as archives:
        return [member for file in found for member in archives.members(file)]


def _store(*archives: bytes, delay_s: float = 0) -> _Counting:
    objects = _Counting(delay_s=delay_s)
    for number, data in enumerate(archives):
        objects.put(f"{number:03}.tar", data, bucket=_BUCKET)
    return objects


def test_no_more_is_moved_than_a_tenth_beyond_the_files() -> None:
    # As cameras write them, and with thumbnails among them.
    for least, each in ((20_000, 400), (20_000, 100), (20_000, 20), (6_000, 200)):
        photographs = _photographs(400, least=least, most=500_000)
        file_bytes = sum(len(data) for _, data in photographs)
        parts = [photographs[first : first + each] for first in range(0, 400, each)]
        objects = _store(*[_archive(part) for part in parts])
        signature = Signature(
            inputs=[InputTensor(name="x", dtype="uint8", shape=[8, 8, 3])], model="m:1"
        )

        cut = cut_stored(
            StoredImages(bucket=_BUCKET, prefix=""),
            objects=objects,
            prefixes=InputPrefixes.from_settings(Settings(input_prefixes=f"s3://{_BUCKET}/")),
            signature=signature,
            limits=ShardLimits.of(signature, item_count=100, max_shard_bytes=2**26),
        )
        shards = list(upload(cut.shards, job_id="job", objects=objects, store=True))
        read = JobStore(objects=objects).read_checked
        contents = [
            bytes(content)
            for shard in shards
            for content in fetch_archive(shard, fetch=read).contents  # type: ignore[arg-type]  # none failed
        ]

        assert [data for _, data in photographs] == contents
        assert file_bytes < objects.sent_bytes <= 1.1 * file_bytes


def test_headers_are_asked_for_in_parallel_in_one_archive_and_in_several() -> None:
    photographs = _photographs(600, least=20_000, most=60_000)
    for each in (600, 50):
        parts = [photographs[first : first + each] for first in range(0, 600, each)]
        objects = _store(*[_archive(part) for part in parts], delay_s=_DELAY_S)

        members = _members(objects)

        assert [name for name, _ in photographs] == [member.name for member in members]
        assert 8 <= objects.most_at_once <= chains.MOST_CHAINS + 1


def test_small_files_are_read_through_and_archives_may_have_both() -> None:
    small = [(f"s{n:05}.jpg", bytes(3_000)) for n in range(1_500)]
    large = _photographs(150, least=100_000, most=200_000)
    mixed = [*small, *large]
    random.Random(1).shuffle(mixed)
    for files, most_requests, most_bytes in (
        (small, 6, 2.0),
        ([*small, *large, *small], 400, 0.6),
        (mixed, 900, 0.6),
    ):
        objects = _store(_archive(files))

        members = _members(objects)

        assert [name for name, _ in files] == [member.name for member in members]
        assert objects.requests <= most_requests
        assert objects.sent_bytes < most_bytes * sum(len(data) for _, data in files)


def test_members_are_those_that_reading_all_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    # Chains begin after a few files, and all that they read is forgotten now and then.
    monkeypatch.setattr(chains, "_LEAST_FILES", 2)
    monkeypatch.setattr(chains, "_SEARCHED_PART", 1)
    monkeypatch.setattr(chains, "_MORE_A_FILE_BYTES", 0)
    photographs = _photographs(60, least=17_000, most=60_000)
    inner = [(f"{n}.tar", _archive(photographs[n : n + 4])) for n in range(0, 60, 4)]
    long_names = [(f"{'é' * 120}/{name}", data) for name, data in photographs]
    no_suffix = [
        (name[:5], b"GIF89a" + data if n % 2 else data)
        for n, (name, data) in enumerate(photographs)
    ]
    sides = [
        each
        for name, data in photographs
        for each in ((name, data), (f"{name}.json", bytes(len(data) % 3000)), (f"{name}.cls", b"7"))
    ]
    plain = _archive(photographs)
    old = b"".join(
        block[:257] + bytes(255) if block[257:262] == b"ustar" else block
        for block in (plain[at : at + 512] for at in range(0, len(plain), 512))
    )
    given = {
        "one file": _archive(photographs[:1]),
        "archives": _archive(inner),
        "archives called images": _archive(
            [(f"{n}.jpg", data) for n, (_, data) in enumerate(inner)]
        ),
        "without an end": plain.rstrip(b"\0"),
        "older": _rechecked(old),
        "without suffixes": _archive(no_suffix),
        **{f"long names {form}": _archive(long_names, form) for form in _FORMS[1:]},
        **{f"beside {form}": _archive(sides, form) for form in _FORMS},
        "cut off": plain[: len(plain) // 2],
        "cut off in a header": plain[: _third_header(plain) + 100],
        "damaged": _damaged(plain, _third_header(plain)),
        "damaged in the middle": _damaged(plain, _header_after(plain, len(plain) // 2)),
    }
    for name, data in given.items():
        for window_bytes in (chains._WINDOW_BYTES, 300_000):
            monkeypatch.setattr(chains, "_WINDOW_BYTES", window_bytes)

            found = _outcome(lambda data=data: _members(_store(data)))

            assert _outcome(lambda data=data: _read_through(data)) == found, name


def test_images_that_are_links_or_sparse_are_told_of() -> None:
    # given archives in which an image has no bytes of its own, or not in one piece
    for kind, why in (
        (tarfile.LNKTYPE, "a link; pack it with tar -h --hard-dereference"),
        (tarfile.SYMTYPE, "a link; pack it with tar -h --hard-dereference"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file; pack it without tar -S"),
    ):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name, member_kind in (
                ("./a.jpg", tarfile.REGTYPE),
                ("./b.jpg", kind),
                ("./._b.jpg", kind),
                ("./latest", kind),
            ):
                member = tarfile.TarInfo(name)
                member.type = member_kind
                tar.addfile(member)
        objects = _store(packed.getvalue())
        stored, (found,) = StoredImages(bucket=_BUCKET, prefix=""), _found(objects)

        with StoredArchives([found], stored, objects=objects) as archives:
            names = [member.name for member in archives.members(found)]

        assert ["a.jpg"] == names
        assert [f"s3://lake/000.tar/b.jpg is {why}"] == stored.left_out.reasons


def _outcome(read: Callable[[], list[TarMember]]) -> list[TarMember] | str:
    try:
        return read()
    except InputError as exc:
        return str(exc)


def _read_through(data: bytes) -> list[TarMember]:
    """The members by one pass over all bytes."""
    members = list(tar_members(io.BytesIO(data), where="s3://lake/000.tar"))
    kept = [
        member
        for member in members
        if member.name.endswith((".jpg", ".png"))
        or data[member.span.first_byte :].startswith(b"GIF8")
    ]
    if not kept:
        raise InputError("s3://lake/000.tar has no image file; give an archive of images")
    return kept


def _header_after(data: bytes, at: int) -> int:
    return data.index(b"ustar", at) - 257


def _third_header(data: bytes) -> int:
    at = 0
    for _ in range(2):
        at = _header_after(data, at + 512)
    return at


def _damaged(data: bytes, at: int) -> bytes:
    return data[:at] + b"!" + data[at + 1 :]


def _rechecked(data: bytes) -> bytes:
    """The archive with checksums of its headers anew, which are 512 bytes before each file."""
    whole, at = bytearray(data), 0
    while any(whole[at : at + 512]):
        size_bytes = int(bytes(whole[at + 124 : at + 135]), 8)
        whole[at + 148 : at + 156] = b" " * 8
        whole[at + 148 : at + 156] = b"%06o\0 " % sum(whole[at : at + 512])
        at += 512 + size_bytes + -size_bytes % 512
    return bytes(whole)


def test_what_the_store_says_in_the_middle_is_told_and_nothing_goes_on() -> None:
    photographs = _photographs(200, least=20_000, most=60_000)
    data = _archive(photographs)

    def fail(first_byte: int) -> None:
        if first_byte > len(data) // 2:
            raise StoreUnavailableError("gone")

    def change(first_byte: int) -> None:
        if first_byte > len(data) // 2:
            objects.put("000.tar", data + bytes(512), bucket=_BUCKET)

    others = set(threading.enumerate())
    for before, kind, why in (
        (fail, StoreUnavailableError, "gone"),
        (change, InputError, "changed while it was read"),
    ):
        objects = _store(data)
        objects.before = before

        with pytest.raises(FornadaError, match=why) as caught:
            _members(objects)

        assert kind is type(caught.value)
        assert set() == set(threading.enumerate()) - others


def test_whoever_stops_early_ends_what_is_read_ahead() -> None:
    objects = _store(*[_archive(_photographs(100, least=20_000, most=60_000))] * 3)
    found = _found(objects)
    stored = StoredImages(bucket=_BUCKET, prefix="")
    others = set(threading.enumerate())

    with (
        StoredArchives(found, stored, objects=objects) as archives,
        closing(archives.members(found[0])) as members,  # type: ignore[type-var]  # a generator
    ):
        assert ["00000.jpg", "00001.jpg"] == [next(members).name for _ in range(2)]

    assert set() == set(threading.enumerate()) - others


def test_an_error_of_ours_in_a_chain_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_data: bytes) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(chains, "header_step", fail)

    with pytest.raises(RuntimeError, match="a bug"):
        _members(_store(_archive(_photographs(50, least=20_000, most=60_000))))
