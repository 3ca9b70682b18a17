"""Tar archives: what is written is read, and damage is found without taking memory."""

import contextlib
import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fornada.errors import InputError
from fornada.formats.tar import (
    TAR_END,
    HeaderStep,
    Span,
    find_header,
    has_findable_headers,
    header_step,
    index_json,
    is_tar,
    parse_index,
    tar_header,
    tar_members,
    tar_padding,
)


def packed(files: list[bytes]) -> bytes:
    parts = [
        tar_header(f"{n:08d}.png", len(data)) + data + tar_padding(len(data))
        for n, data in enumerate(files)
    ]
    return b"".join([*parts, TAR_END])


def unpacked(data: bytes) -> list[tuple[str, bytes]]:
    members = tar_members(io.BytesIO(data), where="a.tar")
    return [(each.name, data[each.span.first_byte : each.span.end_byte]) for each in members]


@given(st.lists(st.binary(max_size=1200), max_size=6))
def test_what_is_written_is_read_by_this_and_by_any_tar_program(files: list[bytes]) -> None:
    data = packed(files)

    assert [(f"{n:08d}.png", file) for n, file in enumerate(files)] == unpacked(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert files == [archive.extractfile(each).read() for each in archive.getmembers()]
    assert len(data) <= sum(map(len, files)) + 1024 * (len(files) + 1)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_archives_of_others_are_read_forward_only_and_regular_files_alone(form: int) -> None:
    buffer = io.BytesIO()
    names = ["a.png", "b/c.png", *([] if form == tarfile.USTAR_FORMAT else ["é" * 200 + ".png"])]
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for kind, name in ((tarfile.DIRTYPE, "b"), (tarfile.SYMTYPE, "l"), (tarfile.FIFOTYPE, "f")):
            member = tarfile.TarInfo(name)
            member.type = kind
            archive.addfile(member)
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 512
            archive.addfile(member, io.BytesIO(name.encode()[:1] * 512))

    assert [(name, name.encode()[:1] * 512) for name in names] == unpacked(buffer.getvalue())
    # and a compressed stream, which cannot go back, is read once
    stream = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(buffer.getvalue())))
    rewinds: list[None] = []
    stream._buffer.raw._rewind = lambda: rewinds.append(None)  # type: ignore[attr-defined]
    for member in tar_members(stream, where="a.tar.gz"):
        stream.seek(member.span.first_byte)
        assert 512 == len(stream.read(member.span.size_bytes))
    assert [] == rewinds


def test_damage_is_found_wherever_it_is() -> None:
    data = packed([b"x" * 700, b"", b"y" * 512])
    whole = unpacked(data)
    assert 3 == len(whole)

    for broken, why in (
        (b"", "empty file"),
        (data[:100], "truncated header"),
        (data[:600], "unexpected end"),
        (data[:-1500], "unexpected end"),
        (data[:1536] + b"!" + data[1537:], "no header at byte 1536"),
        (b"!" + data[1:], "bad checksum"),
    ):
        with pytest.raises(InputError, match=f"a.tar is a damaged tar archive .*{why}") as caught:
            unpacked(broken)
        assert "\n" not in str(caught.value)


def test_a_compressed_archive_is_called_so() -> None:
    with pytest.raises(InputError, match=r"a\.tar is compressed by gzip; decompress it"):
        unpacked(gzip.compress(packed([b"x" * 2000])))


@given(st.binary(max_size=3000), st.integers(0, 2000))
def test_no_bytes_give_another_error(noise: bytes, at: int) -> None:
    data = bytearray(packed([b"x" * 100, b"y"]))
    data[at : at + len(noise)] = noise
    with contextlib.suppress(InputError):
        unpacked(bytes(data))


def test_a_head_tells_an_archive_from_other_files() -> None:
    assert is_tar(packed([b"x"])[:512])
    for head in (b"", b"\0" * 512, b"x" * 512, packed([b"x"])[:511]):
        assert not is_tar(head)


def test_steps_lead_from_header_to_header_as_tarfile_reads_them() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        # A folder has no contents, whatever size it states.
        for kind, size_bytes in ((tarfile.DIRTYPE, 700), (tarfile.REGTYPE, 700), (b"Z", 512)):
            member = tarfile.TarInfo("é" if kind == tarfile.REGTYPE else "a")
            member.type, member.size = kind, size_bytes
            contents = None if kind == tarfile.DIRTYPE else io.BytesIO(bytes(size_bytes))
            archive.addfile(member, contents)
    data = buffer.getvalue()

    steps, at = [], 0
    while (step := header_step(data[at:])) is not None:
        steps.append(step)
        at += step.size_bytes

    # The second is the name of the third.
    assert [(512, False), (1024, True), (1536, False), (1024, False)] == steps
    assert not any(data[at:])
    assert HeaderStep(512, has_attributes=False) == header_step(tar_header("a", 0))


def test_no_step_leads_back_or_from_what_is_no_header() -> None:
    negative = bytearray(tar_header("a", 0))
    negative[124:136] = b"\xff" * 12
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\0 " % sum(negative)
    assert is_tar(bytes(negative))

    for block in (bytes(negative), b"", bytes(512), b"x" * 512, tar_header("a", 5)[:511]):
        assert None is header_step(block)


def test_headers_are_found_whole_blocks_from_anywhere_and_nothing_else_is() -> None:
    header = tar_header("a.png", 5)
    for before in (0, 1, 513):
        # What only looks like one, in the block before and at other places in it.
        noise = bytes(before) + b"ustar" * 102 + b"!!" + bytes(257) + b"ustar" + bytes(250)
        assert before + 1024 == find_header(noise + header, first_byte=before)
    for data in (b"", bytes(2048), header[:511], b"x" + header, b"x" * 257 + b"ustar" + bytes(250)):
        assert None is find_header(data, first_byte=0)
    assert has_findable_headers(header)
    assert not has_findable_headers(header[:257] + bytes(255))


def test_an_index_names_files_within_the_archive_alone() -> None:
    spans = [Span(0, 5), Span(5, 0, "ab" * 32)]
    assert spans == parse_index(index_json(spans), archive_bytes=5, where="i.json")

    for data in (
        b"",
        b"{}x",
        b"1",
        b'["ab"]',
        b"[[0]]",
        b"[[0,6]]",
        b"[[-1,2]]",
        b"[[0,1.5]]",
        b"[[0,true]]",
        b"[[0,1,2]]",
        b"[[0,1,null,4]]",
        b"[" * 100_000,
    ):
        with pytest.raises(
            InputError, match=r"i\.json is not an index of a tar archive of 5 bytes"
        ):
            parse_index(data, archive_bytes=5, where="i.json")
