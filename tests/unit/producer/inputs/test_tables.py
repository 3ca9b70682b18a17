"""Tables on this machine become jobs: columns, ids, bad rows, every kind of file."""

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyarrow import feather

from fornada.errors import InputError, UsageError
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from producer.client import Client
from producer.inputs.interface import ImageFile, LocalFiles, Selection, Signature
from producer.inputs.paths import find_files
from producer.inputs.tables.carried import carried_columns
from producer.inputs.tables.interface import TableOptions
from producer.inputs.tables.local import local_table_blocks, open_tables
from producer.results import Results
from producer.testing import in_memory_client

SCORE = [OutputTensor(name="score", shape=[1], kind="values")]
TABLE = pa.table(
    {
        "key": ["a", "b", "c"],
        "age": [30, 41, None],
        "income": [1.5, 2.5, 3.5],
        "note": ["x", "", "é"],
    }
)


def client(*inputs: InputTensor, predict: Callable[..., object] | None = None) -> Client:
    def total(given: object) -> np.ndarray:
        arrays = given.values() if isinstance(given, Mapping) else [given]
        sums = [
            np.array([len(text) for text in array.ravel().tolist()], np.float32)
            if array.dtype.hasobject
            else array.reshape(len(array), -1).sum(axis=1, dtype=np.float32)
            for array in arrays
        ]
        return np.sum(sums, axis=0, dtype=np.float32)[:, np.newaxis]

    return in_memory_client(model="m", inputs=list(inputs), outputs=SCORE, predict=predict or total)


def number(name: str, shape: list[int | None], **fields: object) -> InputTensor:
    taken = {"name": name, "dtype": "float32", "shape": shape, **fields}
    return InputTensor.from_plain(taken, where="")


def scored(path: Path | list[Path], *inputs: InputTensor, **options: object) -> Results:
    job = client(*inputs).submit(path, model="m", **options)
    return job.results(partial=True)


def scores(results: Results) -> list[float]:
    return results.outputs["score"][:, 0].tolist()


def as_csv(table: pa.Table) -> bytes:
    rows = [table.column_names, *(row.values() for row in table.to_pylist())]
    return "".join(
        ",".join("" if cell is None else str(cell) for cell in row) + "\n" for row in rows
    ).encode()


def as_lines(table: pa.Table) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()


def as_parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=2)
    return file.getvalue()


def as_feather(table: pa.Table) -> bytes:
    file = io.BytesIO()
    feather.write_feather(table, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("t.parquet", as_parquet),
        ("no-suffix", as_parquet),
        ("t.csv", as_csv),
        ("t.csv.gz", lambda table: gzip.compress(as_csv(table))),
        ("t.tsv", lambda table: as_csv(table).replace(b",", b"\t")),
        ("t.jsonl", as_lines),
        ("t.ndjson.gz", lambda table: gzip.compress(as_lines(table))),
        ("t.feather", as_feather),
    ],
)
def test_every_kind_of_table_gives_the_same_items_ids_and_reasons(
    name: str, written: Callable[[pa.Table], bytes], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(written(TABLE))
    text = InputTensor(name="note", dtype="string", shape=[])

    found = scored(path, number("age", [1]), number("income", []), text, id_column="key")

    assert ["a", "b", "c"] == found.item_ids
    assert [32.5, 43.5] == scores(found)[:2]
    assert {2: "null in 'age'"} == found.errors


def test_a_vector_takes_all_other_columns_of_numbers_or_those_that_are_named(
    tmp_path: Path,
) -> None:
    pq.write_table(TABLE, tmp_path / "t.parquet")
    weighted = client(
        number("features", [2]), predict=lambda x: (x * [1, 100]).sum(axis=1, keepdims=True)
    )

    others = weighted.submit(tmp_path / "t.parquet", model="m")
    named = weighted.submit(
        tmp_path / "t.parquet", model="m", columns={"features": ["income", "age"]}
    )

    assert [180.0, 291.0] == scores(others.results())[:2]
    assert [3001.5, 4102.5] == scores(named.results())[:2]
    assert ["0", "1", "2"] == others.results().item_ids


def test_quotes_and_line_breaks_are_read_wherever_csv_may_have_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for data in (
        '\ufeff"a, in\nEUR; net";age;note\r\n5;1;"x;""y""\nz"\r\n6;2;"\n"\r\n',
        'age,"several\n\nlines"\n1,"a\nb"\n2,5" pipe\n',
        "age,note\r1,x\r2,y\r",
    ):
        path.write_text(data, encoding="utf-8", newline="")
        assert [1.0, 2.0] == scores(scored(path, number("age", []))), data


def test_an_image_takes_its_pixels_from_as_many_columns(tmp_path: Path) -> None:
    pixels = {f"pixel{n}": [n, 1] for n in range(4)}
    (tmp_path / "t.csv").write_bytes(as_csv(pa.table({"label": ["7", "3"], **pixels})))
    taken = InputTensor(name="image", dtype="uint8", shape=[2, 2, 1])

    assert [6.0, 4.0] == scores(scored(tmp_path / "t.csv", taken, id_column="label"))


def test_a_folder_is_one_table_whose_partitions_are_columns(tmp_path: Path) -> None:
    for year, ages in ((2025, [1.0, 2.0]), (2026, [3.0])):
        folder = tmp_path / "people" / f"year={year}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"age": ages}), folder / "0.parquet")
    (tmp_path / "people" / "_SUCCESS").touch()

    found = scored(tmp_path / "people", number("age", [1]), number("year", [1]))

    assert [2026.0, 2027.0, 2029.0] == scores(found)


def test_images_come_by_path_or_encoded_beside_facts(tmp_path: Path) -> None:
    encoded = []
    for value in (1, 2):
        file = io.BytesIO()
        Image.new("L", (3, 2), value).save(file, "PNG")
        (tmp_path / f"{value}.png").write_bytes(file.getvalue())
        encoded.append(file.getvalue())
    paths, ages = ["1.png", "gone.png", "2.png"], [10.0, 20.0, 30.0]
    pq.write_table(pa.table({"photo": paths, "age": ages}), tmp_path / "paths.parquet")
    files = [encoded[0], b"no image", encoded[1]]
    pq.write_table(pa.table({"photo": files, "age": ages}), tmp_path / "files.parquet")
    photo = InputTensor(
        name="photo", dtype="uint8", shape=[2, 3], image=ImagePreprocessing(color="grayscale")
    )

    for name, why in (("paths", "gone.png is no file"), ("files", "is not an image")):
        both = scored(tmp_path / f"{name}.parquet", photo, number("age", [1]))
        alone = scored(tmp_path / f"{name}.parquet", photo, columns={"photo": "photo"})
        assert [16.0, 42.0] == [scores(both)[0], scores(both)[2]]
        assert [6.0, 12.0] == [scores(alone)[0], scores(alone)[2]]
        for found in (both, alone):
            assert [1] == list(found.errors)
            assert why in found.errors[1]


def test_a_bad_line_among_the_paths_of_images_says_so(tmp_path: Path) -> None:
    photo = number("photo", [2, 3], image=ImagePreprocessing(color="grayscale"))
    Image.new("L", (3, 2), 1).save(tmp_path / "1.png")
    (tmp_path / "t.jsonl").write_bytes(b'{"photo": "1.png"}\nxx\n{"photo": "2.png"}\n')

    blocks = list(
        local_table_blocks(
            find_files(LocalFiles(paths=[tmp_path / "t.jsonl"]), strict=True),
            TableOptions(),
            signature=Signature(inputs=[photo], model="m"),
            max_file_bytes=10**6,
        )
    )

    assert [None, f"line 2 {NO_JSON}", "2.png is no file; check the path"] == [
        block.error for block in blocks if isinstance(block, ImageFile)
    ]


def test_images_come_by_their_addresses_in_tables_and_manifests(tmp_path: Path) -> None:
    photo = InputTensor(
        name="photo", dtype="uint8", shape=[2, 3], image=ImagePreprocessing(color="grayscale")
    )
    asked = client(photo)
    for value in (1, 2):
        file = io.BytesIO()
        Image.new("L", (3, 2), value).save(file, "PNG")
        asked._models.objects.put(f"photos/{value}.png", file.getvalue(), bucket="lake")
    names = ["1.png", "gone.png", "../2.png", "2.png"]
    urls = [f"s3://lake/photos/{name}" for name in names]
    (tmp_path / "list.manifest").write_text(json.dumps([{"prefix": "s3://lake/photos/"}, *names]))
    lines = "".join(json.dumps({"source-ref": url, "label": 1}) + "\n" for url in urls)
    (tmp_path / "augmented.manifest").write_text(lines)

    for name, column in (("list", "image"), ("augmented", "source-ref")):
        job = asked.submit(
            tmp_path / f"{name}.manifest", model="m", columns={"photo": column}, id_column=column
        )
        found = job.results()
        assert urls == found.item_ids
        assert [6.0, 12.0] == [scores(found)[0], scores(found)[3]]
        assert [1, 2] == list(found.errors)
        assert "../2.png cannot be read" in found.errors[2]
    (tmp_path / "list.manifest").write_text('[{"prefix": 1}, "a"]')
    with pytest.raises(InputError, match="no manifest as"):
        asked.submit(tmp_path / "list.manifest", model="m")


def test_sequences_of_any_length_keep_their_order(tmp_path: Path) -> None:
    tokens = [[1.0], [2.0, 3.0], None, [4.0, 5.0], [], [6.0]]
    pq.write_table(pa.table({"tokens": tokens, "n": range(6)}), tmp_path / "t.parquet")

    found = scored(tmp_path / "t.parquet", number("tokens", [None]), id_column="n")

    assert [1.0, 5.0, 9.0, 6.0] == [scores(found)[n] for n in (0, 1, 3, 5)]
    assert [2, 4] == sorted(found.errors)
    assert "shape [0]" in found.errors[4]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("t.csv", b"age,income\n1,2,3\n", "Expected 2 columns, got 3"),
        ("t.csv", b"1.5,2\n3,4\n", "has no line of column names"),
        ("t.csv", b"age,income\n", "has no rows"),
        ("t.csv", b"age,income\nx,1\ny,2\n", "column 'age' holds string"),
        ("t.csv", b"age;income\n1;2,5\n", r"'income' .*; write numbers as 1234\.5, or bind"),
        ("t.csv", b'age,income,x\n1,2,"a\n3,4,b\n', r"t\.csv: the quote before .* in column 'x'"),
        ("t.csv", "age,income\n1,é\n".encode("latin-1"), "save it as UTF-8"),
        ("t.csv", b"age,age\n1,2\n", "has several columns 'age'"),
        ("t.csv", "age,income,é\n1,2,3".encode("latin-1"), "is not UTF-8"),
        ("t.csv.gz", gzip.compress(as_csv(TABLE), mtime=0)[:-20], "t.csv.gz"),
        ("t.jsonl", b'{"age": 1\nxx\n', "cannot be read"),
        ("t.jsonl", b'{"age": {"a": 1}, "income": 1}\n', "column 'age' holds struct"),
        # Of some thousand levels, pyarrow's parser would end the process.
        ("t.jsonl", b'{"age": %s}\n' % (b"[" * 64 + b"]" * 64), "more than 64 levels deep"),
        ("t.csv", b"c%d," * 100_000 % tuple(range(100_000)) + b"d\n", "has 100001 columns"),
        ("t.parquet", as_parquet(TABLE)[:-9], "cannot be read"),
        ("t.parquet", as_parquet(TABLE.slice(0, 0)), r"t\.parquet has no rows"),
        ("t.arrow", b"ARROW1" + bytes(64), "cannot be read"),
        ("t.parquet", as_parquet(TABLE.drop_columns(["age"])), "has no column 'age'"),
    ],
)
def test_what_is_no_table_of_the_model_is_refused(
    name: str, data: bytes, why: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)

    with pytest.raises(InputError, match=why):
        scored(tmp_path / name, number("age", [1]), number("income", [1]))


NO_JSON = "is not JSON: Invalid value"
TOO_DEEP = b'{"age": %s}\n' % (b"[" * 64 + b"]" * 64)


def lines(*ages: int) -> bytes:
    return b"".join(b'{"key": "%d", "age": %d}\n' % (age, age) for age in ages)


@pytest.mark.parametrize(
    ("data", "good", "errors"),
    [
        (b"xx\n" + lines(1, 2), [1, 2], {0: f"line 1 {NO_JSON}"}),
        (lines(1, 2) + b"{", [1, 2], {2: "line 3 is not JSON: Missing a name for object member"}),
        # Empty lines are no rows, and lines all the same.
        (
            lines(1) + b"\n[1]\n7\n" + lines(2),
            [1, 2],
            {
                1: "line 3 is no JSON object: it is an array",
                2: "line 4 is no JSON object: it is a number",
            },
        ),
        (
            lines(1) + TOO_DEEP + lines(2) + b"\0\n" + lines(3),
            [1, 2, 3],
            {
                1: "line 2 is nested more than 64 levels deep; flatten it",
                3: "line 4 is not JSON: The document is empty",
            },
        ),
        (
            lines(1) + b'{"key": "2", "age": "old"}\n' + lines(3),
            [1, 3],
            {1: "line 2 cannot be read (Column(/age) changed from number to string)"},
        ),
        # In the first block numbers are whole.
        (
            lines(*[1] * 200_000) + b"xx\n" + b'{"age": 0.5}\n',
            [*[1] * 200_000, 0.5],
            {200_000: f"line 200001 {NO_JSON}"},
        ),
    ],
    ids=["first", "last", "several", "too deep", "of another type", "in a second block"],
)
def test_a_bad_line_of_json_costs_its_row(
    data: bytes, good: list[float], errors: dict[int, str], tmp_path: Path
) -> None:
    (tmp_path / "t.jsonl").write_bytes(data)

    found = scored(tmp_path / "t.jsonl", number("age", []), columns={"age": "age"})

    assert errors == found.errors
    assert good == [score for at, score in enumerate(scores(found)) if at not in errors]


def test_a_bad_line_of_json_has_its_number_as_its_id_and_null_in_carried_columns(
    tmp_path: Path,
) -> None:
    path = tmp_path / "year=7" / "t.jsonl"
    path.parent.mkdir()
    path.write_bytes(lines(1, 2) + b"xx\n" + lines(3))
    job = client(number("age", [])).submit(tmp_path, model="m", id_column="key")

    assert ["1", "2", "line 3", "3"] == job.results(partial=True).item_ids
    (carried,) = job.carried_columns(["age", "year"], paths=[tmp_path])
    assert {"age": [1, 2, None, 3], "year": ["7"] * 4} == carried.to_pydict()
    with pytest.raises(InputError, match=f"line 3 {NO_JSON}"):
        scored(tmp_path, number("age", []), id_column="key", strict=True)


def test_options_that_make_no_sense_are_the_caller_s_fault(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "t.parquet")
    np.save(tmp_path / "a.npy", np.zeros((2, 1), np.float32))
    age, table = number("age", [1]), tmp_path / "t.parquet"
    for path, options, why in (
        (table, {"columns": {"height": "age"}}, "columns has 'height'"),
        (table, {"columns": {"age": 3}}, "give the name of a column"),
        (tmp_path / "a.npy", {"id_column": "key"}, "a.npy is none"),
        (np.zeros((2, 1), np.float32), {"id_column": "key"}, "give item_ids"),
    ):
        with pytest.raises(UsageError, match=why):
            scored(path, age, **options)
    for columns, why in (({"age": "agee"}, "has no column 'agee'"), ({"age": "note"}, "string")):
        with pytest.raises(InputError, match=why):
            scored(table, age, columns=columns)
    with pytest.raises(InputError, match="row 2 has no id"):
        scored(table, age, id_column="age")
    with pytest.raises(InputError, match="item 2: null in 'age'"):
        scored(table, age, strict=True)


def test_a_data_frame_gives_its_ids_by_a_column_too() -> None:
    found = scored(TABLE.slice(0, 2), number("age", [1]), number("income", [1]), id_column="key")

    assert (["a", "b"], [31.5, 43.5]) == (found.item_ids, scores(found))


def test_columns_are_carried_along_from_the_file_by_row_number(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(as_csv(pa.table({"age": range(10), "note": [f"n{n}" for n in range(10)]})))
    job = client(number("age", [1])).submit(path, model="m", items_per_shard=4)
    found = find_files(LocalFiles(paths=[path], selection=Selection()), strict=True)

    def carried(names: list[str]) -> list[dict[str, list[str]]]:
        tables = open_tables(found)
        parts = carried_columns(job.manifest, names, fetch=lambda _ref: b"", tables=tables)
        return [part.to_pydict() for part in parts]

    assert [4, 4, 2] == [len(part["note"]) for part in carried(["note"])]
    assert [f"n{n}" for n in range(10)] == [n for part in carried(["note"]) for n in part["note"]]
    with pytest.raises(InputError, match="has no column 'nota'"):
        carried(["nota"])
    path.write_bytes(as_csv(pa.table({"age": range(9), "note": ["x"] * 9})))
    with pytest.raises(InputError, match="has 9 rows, and the job 10 or more"):
        carried(["note"])


@pytest.mark.slow
def test_ten_million_rows_are_read_in_flat_memory(tmp_path: Path) -> None:
    names = [f"f{n}" for n in range(30)]
    rng = np.random.default_rng(0)
    columns = [pa.array(rng.random(1_000_000, dtype=np.float32)) for _ in names]
    with pq.ParquetWriter(tmp_path / "t.parquet", pa.table(columns, names=names).schema) as writer:
        for _ in range(10):
            writer.write_table(pa.table(columns, names=names))
    script = f"""
import re
from pathlib import Path
from fornada.tensors import InputTensor
from producer.inputs.interface import LocalFiles, Signature
from producer.inputs.local_files import read_blocks
taken = InputTensor(name="x", dtype="float32", shape=[30])
files = LocalFiles(paths=[Path({str(tmp_path / "t.parquet")!r})])
signature = Signature(inputs=[taken], model="m:1")
count = sum(len(b.rows) for b in read_blocks(files, signature, max_file_bytes=1, strict=False))
# What `resource` says of a new process is that of its parent, if that was larger.
status = Path("/proc/self/status").read_text()
print(count, int(re.search("VmHWM:\\\\s+(\\\\d+)", status)[1]) // 1024)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    row_count, peak_mb = map(int, found.stdout.split())
    assert 10_000_000 == row_count
    # A row group has 120 MB; pyarrow and NumPy alone take 200.
    assert peak_mb < 400
