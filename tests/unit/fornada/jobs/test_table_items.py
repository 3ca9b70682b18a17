"""Shards of a stored Parquet table: what is read of it, and what a damaged one costs."""

import io
import random
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fornada.errors import FornadaError, InputError
from fornada.formats.images import DecoderPool, decode_item
from fornada.formats.tables import parquet as parquet_module
from fornada.formats.tables.binding import TableBinding
from fornada.formats.tables.parquet import StoredParquet
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_files import ImageFiles, TensorsWithFiles
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.jobs.table_items import fetch_rows, row_columns, row_ids
from fornada.records import ModelPin, ObjectRef
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor

COUNT = 10_000
TABLE = pa.table(
    {
        "key": [f"id{n}" for n in range(COUNT)],
        "a": np.arange(COUNT),
        "b": np.arange(COUNT) * 0.5,
        "text": [f"text {n % 7}" for n in range(COUNT)],
        "tokens": [[n] * (n % 3 + 1) for n in range(COUNT)],
        "unused": np.random.default_rng(0).random(COUNT),
    }
)
VECTOR = InputTensor(name="vector", dtype="float32", shape=[2])
TEXT = InputTensor(name="text", dtype="string", shape=[])
TOKENS = InputTensor(name="tokens", dtype="int32", shape=[None])
PHOTO = InputTensor(name="photo", dtype="float32", shape=[4, 4, 3], image=ImagePreprocessing())
COLUMNS = {"vector": ["a", "b"], "text": ["text"], "tokens": ["tokens"], "photo": ["file"]}


def parquet(table: pa.Table = TABLE, **options: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=3000, **options)
    return file.getvalue()


DATA = parquet()
REF = ObjectRef(key="inputs/t.parquet", size_bytes=len(DATA), etag="e")
RUN = ShardInput(format="parquet", objects=[REF], row_groups=[1, 2], item_count=6000)
PART = ShardInput(
    format="parquet", objects=[REF], row_groups=[1, 1], first_row=1000, item_count=1500
)


def manifest(*takes: InputTensor, shard: ShardInput = RUN) -> JobManifest:
    made = JobManifest(
        schema_version=3,
        job_id="j",
        model=ModelPin(name="m", version=1, sha256="0" * 64),
        inputs=list(takes),
        outputs=[OutputTensor(name="score", shape=[1], kind="values")],
        table=TableBinding(columns={t.name: COLUMNS[t.name] for t in takes}, id_column="key"),
        shards=Shards([shard]),
        max_attempts=1,
        created_at=datetime.now(UTC),
    )
    return JobManifest.from_json(made.to_json(), where="manifest")


class Store:
    """An object that is read by ranges."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data = data
        self.read_bytes = 0

    def __call__(self, ref: ObjectRef) -> bytes:
        """The bytes of a part."""
        first = ref.first_byte or 0
        self.read_bytes += ref.size_bytes
        return self.data[first : first + ref.size_bytes]


def test_a_shard_is_a_run_of_row_groups_of_which_the_needed_columns_are_read() -> None:
    store = Store()

    items = fetch_rows(manifest(VECTOR, TEXT), RUN, fetch=store)

    (group,) = items.groups
    vectors, texts = group.rows.arrays
    assert (6000, [3000, 1500], [8999, 4499.5]) == (
        len(group.rows), vectors[0].tolist(), vectors[-1].tolist(),
    )  # fmt: skip
    assert b"text 4" == texts[-1]
    # The footer's tail, and three of six columns of two of four row groups.
    assert store.read_bytes < 64 * 1024 + len(DATA) // 2


def test_a_shard_may_be_a_part_of_a_row_group_and_a_retry_selects_some_of_it() -> None:
    job, some = manifest(VECTOR), PART.select([3, 1499])

    (part,) = fetch_rows(job, PART, fetch=Store()).groups
    (selected,) = fetch_rows(job, some, fetch=Store()).groups

    assert (1500, 4000) == (len(part.rows), part.rows.only[0, 0])
    assert [[4003, 2001.5], [5499, 2749.5]] == selected.rows.only.tolist()
    assert ["id4003", "id5499"] == row_ids(job, some, fetch=Store())
    assert {"text": ["text 6", "text 4"], "a": [4003, 5499]} == (
        row_columns(some, ["text", "a"], fetch=Store()).to_pydict()
    )


def test_rows_of_varying_length_are_groups_by_shape() -> None:
    items = fetch_rows(manifest(TOKENS), PART, fetch=Store())

    assert [((2,),), ((3,),), ((1,),)] == [group.rows.shapes for group in items.groups]
    assert [500, 500, 500] == [len(group.rows) for group in items.groups]


def test_a_bad_row_of_a_later_batch_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_module, "_BATCH_VALUES", 2000)
    numbers = [None if n == 4321 else n for n in range(COUNT)]
    data = parquet(TABLE.set_column(1, "a", pa.array(numbers)))
    ref = REF.model_copy(update={"size_bytes": len(data)})
    shard = RUN.model_copy(update={"objects": [ref], "row_groups": [0, 3], "item_count": COUNT})

    items = fetch_rows(manifest(VECTOR), shard, fetch=Store(data))

    assert [(4321, "null in 'a'")] == [(error.index, error.reason) for error in items.errors]


def test_a_table_with_other_rows_than_the_job_says_is_refused() -> None:
    job = manifest(VECTOR)
    for shard, why in (
        (RUN.model_copy(update={"item_count": 6001}), "have 6000 rows, and the job reads 6001"),
        (RUN.model_copy(update={"row_groups": [4, 4]}), "have 0 rows"),
    ):
        with pytest.raises(InputError, match=why):
            fetch_rows(job, shard, fetch=Store())


@pytest.mark.parametrize("compression", ["snappy", "none"])
def test_damaged_tables_are_typed_errors(compression: str) -> None:
    data = parquet(compression=compression)
    chance = random.Random(5)
    job, takes = manifest(VECTOR, TEXT), (VECTOR, TEXT)
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        # The footer, which states all sizes, is damaged as often as the pages.
        low = len(data) - 4000 if chance.random() < 0.5 else 0
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(low, len(data))] = chance.randrange(256)
        whole = bytes(damaged[: chance.choice([len(data), chance.randrange(len(data))])])
        ref = REF.model_copy(update={"size_bytes": len(whole)})
        try:
            items = fetch_rows(job, RUN.model_copy(update={"objects": [ref]}), fetch=Store(whole))
        except FornadaError:
            refused += 1
        else:
            assert all(len(takes) == len(group.rows.arrays) for group in items.groups)
    assert refused > 75


def test_what_is_no_parquet_file_is_refused_before_it_is_parsed() -> None:
    for data, why in (
        (b"", "footer is cut off"),
        (b"PAR1PAR1", "footer is cut off"),
        (b"PAR1" + b"\xff\xff\xff\xffPAR1", "footer is cut off"),
        (b"PAR1" + b"\x00" * 8 + b"\x04\0\0\0PARE", "is encrypted"),
        (b"PAR1" + b"\x00" * 8 + b"\x04\0\0\0PAR1", "cannot be read"),
    ):
        with pytest.raises(InputError, match=why):
            StoredParquet(lambda at, n, d=data: d[at : at + n], size_bytes=len(data), where="t")


def test_items_that_are_too_large_in_all_are_refused_before_they_are_read() -> None:
    store = Store()

    with pytest.raises(InputError, match="6000 rows have over 1073741824 bytes"):
        fetch_rows(manifest(VECTOR.model_copy(update={"shape": [100_000]})), RUN, fetch=store)

    assert store.read_bytes <= 64 * 1024


def test_pages_that_claim_more_than_the_footer_are_refused_before_memory_is_taken() -> None:
    chunk = pq.read_metadata(io.BytesIO(DATA)).row_group(1).column(1)
    # A page's header: its kind, and its size unpacked, as fields of a byte each and a varint.
    at = chunk.dictionary_page_offset + 3
    forged = bytearray(DATA)
    # The last bit of the first byte is its sign.
    while forged[at] & 0x80:
        forged[at] = 0xFE
        at += 1
    forged[at] = 0x7E

    with pytest.raises(InputError, match="its pages claim more than its footer"):
        fetch_rows(manifest(VECTOR), RUN, fetch=Store(bytes(forged)))


def test_a_few_bytes_that_make_gigabytes_of_text_are_refused() -> None:
    count = 1100
    text = pa.array(["x" * 1024 * 1024]).dictionary_encode().dictionary
    repeated = pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), text)
    file = io.BytesIO()
    columns = {"key": [str(n) for n in range(count)], "text": repeated}
    pq.write_table(pa.table(columns), file, compression="zstd")
    data = file.getvalue()
    ref = REF.model_copy(update={"size_bytes": len(data)})
    shard = RUN.model_copy(update={"objects": [ref], "row_groups": [0, 0], "item_count": count})

    assert len(data) < 100_000
    with pytest.raises(InputError, match="1100 rows have over 1073741824 bytes"):
        fetch_rows(manifest(TEXT), shard, fetch=Store(data))


def test_a_list_of_many_values_in_a_few_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_module, "MAX_TABLE_BYTES", 1024 * 1024)
    file = io.BytesIO()
    values = pa.array(np.zeros(150_000, np.int8))
    lists = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
    pq.write_table(pa.table({"key": ["a"], "tokens": lists}), file, compression="zstd")
    data = file.getvalue()
    ref = REF.model_copy(update={"size_bytes": len(data)})
    shard = RUN.model_copy(update={"objects": [ref], "row_groups": [0, 0], "item_count": 1})

    assert len(data) < 10_000
    with pytest.raises(InputError, match="1200000 bytes, over 1048576; write smaller ones"):
        fetch_rows(manifest(TOKENS), shard, fetch=Store(data))


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 7), (shade, 20, 30)).save(file, "PNG")
    return file.getvalue()


def test_photographs_in_a_table_are_decoded_by_the_pool_and_a_bad_one_fails_alone() -> None:
    good = [png(10), png(200)]
    files = [good[0], None, good[1], b"no image", good[0]]
    data = parquet(pa.table({"key": list("vwxyz"), "file": files, "a": range(5), "b": [0.5] * 5}))
    ref = ObjectRef(key="inputs/t.parquet", size_bytes=len(data), etag="e")
    shard = ShardInput(format="parquet", objects=[ref], row_groups=[0, 0], item_count=5)

    alone = fetch_rows(manifest(PHOTO, shard=shard), shard, fetch=Store(data))
    beside = fetch_rows(manifest(PHOTO, VECTOR, shard=shard), shard, fetch=Store(data))

    expected = [decode_item(each, taken=PHOTO, where="x") for each in (*good, good[0])]
    # rows with one file have it in memory once
    assert isinstance(alone, ImageFiles)
    assert alone.contents[0] is alone.contents[4]
    assert isinstance(beside, TensorsWithFiles)
    with DecoderPool(2) as pool:
        found = alone.decoded(PHOTO, pool=pool).items
        several = beside.decoded([PHOTO, VECTOR], pool=pool).items
    for items in (found, several):
        assert [0, 2, 4] == items.groups[0].positions.tolist()
        np.testing.assert_array_equal(expected, items.groups[0].rows.arrays[0])
    assert [[0, 0.5], [2, 0.5], [4, 0.5]] == several.groups[0].rows.arrays[1].tolist()
    for items in (found, several):
        null, broken = (error.reason for error in items.errors)
        assert ("null in 'file'", True) == (null, "the image in 'file' is not an image" in broken)


def test_photographs_of_the_selected_rows_are_those_that_are_decoded() -> None:
    data = parquet(pa.table({"key": list("abcd"), "file": [png(n) for n in range(4)]}))
    ref = ObjectRef(key="inputs/t.parquet", size_bytes=len(data), etag="e")
    shard = ShardInput(format="parquet", objects=[ref], row_groups=[0, 0], item_count=4)

    some = fetch_rows(manifest(PHOTO, shard=shard), shard.select([1, 3]), fetch=Store(data))

    assert isinstance(some, ImageFiles)
    assert [png(1), png(3)] == list(some.contents)
