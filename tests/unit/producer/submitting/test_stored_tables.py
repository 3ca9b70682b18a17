"""Tables in the store: planned by footers, read where they lie, with ids from their rows."""

import io
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from fornada.errors import InputError, InputNotAllowedError, IntegrityError, UsageError
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.shard_items import read_items
from fornada.jobs.store import JobStore
from fornada.settings import Settings
from fornada.storage.interface import StoredObject
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from fornada.trust.input_prefixes import InputPrefixes
from producer.inputs.interface import Signature, StoredImages
from producer.inputs.tables.carried import carried_columns
from producer.inputs.tables.interface import TableOptions
from producer.submitting.shards import FileShard, ShardLimits
from producer.submitting.stored.sharding import cut_stored
from producer.submitting.stored.tables import StoredShards

from ..conftest import World

COUNT = 1000
TABLE = pa.table(
    {
        "key": [f"C{n}" for n in range(COUNT)],
        "a": np.arange(COUNT),
        "b": np.ones(COUNT, np.float32),
        "note": ["long text " * 20] * COUNT,
    }
)
PAIR = InputTensor(name="pair", dtype="float32", shape=[2])
OUTPUT = OutputTensor(name="score", shape=[1], kind="values")
LAKE = "s3://lake/inputs/"
ALLOWED = InputPrefixes.from_settings(Settings(input_prefixes=LAKE))
BY_KEY = TableOptions(columns={"pair": ["a", "b"]}, id_column="key")


def parquet(table: pa.Table = TABLE, *, rows: int = 100, **options: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=rows, **options)
    return file.getvalue()


class Store(InMemoryObjectStore):
    """Counts the bytes that are read by ranges."""

    def __init__(self, **contents: bytes) -> None:
        super().__init__()
        self.range_bytes = 0
        for name, data in contents.items():
            self.put(f"inputs/t/{name.replace('_', '.')}", data, bucket="lake")

    def get_range(
        self, key: str, *, first_byte: int, size_bytes: int, bucket: str | None = None
    ) -> StoredObject:
        """As the base."""
        self.range_bytes += size_bytes
        return super().get_range(key, first_byte=first_byte, size_bytes=size_bytes, bucket=bucket)


def planned(
    objects: InMemoryObjectStore,
    *,
    options: TableOptions = BY_KEY,
    takes: InputTensor = PAIR,
    outputs: OutputTensor = OUTPUT,
    items_per_shard: int = 250,
    max_shard_bytes: int = 1_000_000,
    prefix: str = "inputs/t/",
) -> StoredShards:
    signature = Signature(inputs=[takes], outputs=[outputs], model="m:1")
    return cut_stored(
        StoredImages(bucket="lake", prefix=prefix),
        objects=objects,
        prefixes=ALLOWED,
        signature=signature,
        limits=ShardLimits.of(
            signature, item_count=items_per_shard, max_shard_bytes=max_shard_bytes
        ),
        table=options,
    )


def inputs_of(found: StoredShards) -> list[ShardInput]:
    # None of them keeps anything.
    return [shard.kept(None) for shard in found.shards]


def test_a_table_is_planned_by_its_footer_and_a_shard_is_a_run_of_row_groups() -> None:
    objects = Store(a_parquet=parquet(compression="none"), b_parquet=parquet(rows=400))

    shards = inputs_of(planned(objects))

    assert [([0, 1], 200), ([2, 3], 200), ([4, 5], 200), ([6, 7], 200), ([8, 9], 200)] == [
        (part.row_groups, part.item_count) for part in shards[:5]
    ]
    assert [([0, 0], 400), ([1, 1], 400), ([2, 2], 200)] == [
        (part.row_groups, part.item_count) for part in shards[5:]
    ]
    assert all(part.objects[0].etag for part in shards)
    # 64 KiB at the end of each file, and of the first one twice.
    assert objects.range_bytes <= 3 * 64 * 1024


def test_a_row_group_that_is_too_large_is_cut_by_its_rows_or_outputs() -> None:
    objects = Store(a_parquet=parquet(rows=COUNT))
    mask = OutputTensor(name="mask", shape=[10, 1000], kind="tensor")

    for options in ({"max_shard_bytes": 4000}, {"outputs": mask, "max_shard_bytes": 20_000_000}):
        shards = inputs_of(planned(objects, **options))
        assert [COUNT] == [sum(part.item_count for part in shards)]
        assert [None, shards[0].item_count] == [part.first_row for part in shards[:2]]
        assert {(0, 0)} == {tuple(part.row_groups or []) for part in shards}


def test_rows_and_ids_come_from_the_table_until_it_changes(world_of_pairs: World) -> None:
    objects = world_of_pairs.objects
    # As in the store, not as the world counts puts.
    put = partial(InMemoryObjectStore.put, objects, "inputs/t/a.parquet", bucket="lake")
    put(parquet())
    stored = StoredImages.parse(f"{LAKE}t/")

    job = world_of_pairs.client.submit(
        stored, model="m", items_per_shard=300, columns={"inputs": ["a", "b"]}, id_column="key"
    )

    jobs = JobStore(objects=objects, prefixes=ALLOWED)
    manifest = jobs.manifest(job.id)
    rows = [read_items(manifest, shard, jobs=jobs).groups[0].rows.only for shard in manifest.shards]
    assert [300, 300, 300, 100] == [len(part) for part in rows]
    assert [[300, 1], [599, 1]] == rows[1][[0, -1]].tolist()
    assert [f"C{n}" for n in range(COUNT)] == job.results(partial=True).item_ids
    carried = carried_columns(manifest, ["a"], fetch=partial(jobs.inputs.read, manifest))
    assert list(range(COUNT)) == [n for part in carried for n in part["a"].to_pylist()]
    put(parquet(TABLE.set_column(1, "a", pa.array([1] * COUNT))))
    with pytest.raises(IntegrityError, match="was changed"):
        read_items(manifest, manifest.shards[0], jobs=jobs)


def test_other_tables_in_the_store_are_copied() -> None:
    file = io.BytesIO()
    csv.write_csv(TABLE, file)

    found = planned(Store(t_csv=file.getvalue()))

    assert found.table is None
    assert [250, 250, 250, 250] == [shard.item_count for shard in found.shards]


def test_a_bad_line_of_json_in_the_store_costs_its_row() -> None:
    good = b'{"key": "k", "a": 1, "b": 2}\n'

    found = planned(Store(t_jsonl=good + b"xx\n"))

    (shard,) = found.shards
    assert [(1, "line 2 is not JSON: Invalid value")] == [
        (error.index, error.reason) for error in shard.errors
    ]


def test_images_that_parquet_names_are_copied_and_those_it_holds_are_not() -> None:
    photo = InputTensor(name="photo", dtype="uint8", shape=[2, 2, 3], image=ImagePreprocessing())
    urls = [f"s3://lake/photos/{n}.png" for n in range(3)] + ["photos/local.png", None]
    objects = Store(
        a_parquet=parquet(pa.table({"key": list("abcde"), "photo": urls})),
        b_parquet=parquet(pa.table({"key": ["f"], "photo": [b"\x89PNG"]})),
    )
    for n in range(2):
        objects.put(f"photos/{n}.png", b"\x89PNG", bucket="lake")
    options = TableOptions(id_column="key")

    named = planned(objects, options=options, takes=photo, prefix="inputs/t/a.parquet")
    held = planned(objects, options=options, takes=photo, prefix="inputs/t/b.parquet")

    (shard,) = named.shards
    assert isinstance(shard, FileShard)
    assert (list("abcde"), [2, 3, 4]) == (shard.item_ids, [error.index for error in shard.errors])
    assert "only local tables may name files" in shard.errors[1].reason
    assert held.table is not None
    assert ["parquet"] == [each.format for each in inputs_of(held)]


def test_what_is_no_table_of_the_model_or_lies_elsewhere_is_refused() -> None:
    whole = Store(a_parquet=parquet())
    for objects, options, error, why in (
        (whole, {"options": TableOptions(columns={"pair": ["a", "c"]})}, InputError, "column 'c'"),
        (whole, {"options": TableOptions(columns={"pear": "a"})}, UsageError, "'pear'"),
        (whole, {"prefix": "others/"}, InputNotAllowedError, "FORNADA_INPUT_PREFIXES"),
        (Store(a_parquet=parquet()[:-1]), {}, InputError, "footer is cut off"),
        (Store(a_parquet=parquet(TABLE.slice(0, 0))), {}, InputError, "has no rows"),
        (
            Store(a_parquet=parquet(), b_parquet=parquet(TABLE.drop_columns(["b"]))),
            {},
            InputError,
            "b.parquet has no column 'b'",
        ),
    ):
        with pytest.raises(error, match=why):
            planned(objects, **options)


@pytest.fixture
def world_of_pairs() -> World:
    world = World(input_prefixes=LAKE)
    world.publish(item_shape=[2], item_dtype="float32")
    return world
