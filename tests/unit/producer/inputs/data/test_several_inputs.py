"""Items of several inputs go in by the inputs' names, in jobs as in calls."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from fornada.errors import InputError, UsageError
from fornada.formats.tensor_file import to_tensor_file
from fornada.tensors import InputTensor, OutputTensor
from producer import Client, ItemBlock, Rows
from producer.testing import in_memory_client

PHOTOS = np.arange(36, dtype=np.uint8).reshape(3, 2, 2, 3)
FACTS = np.arange(6, dtype=np.float32).reshape(3, 2)
BOTH = {"photo": PHOTOS, "facts": FACTS}
PARTS = [slice(0, 1), slice(1, 3)]
ROWS = [{"photo": photo, "facts": fact} for photo, fact in zip(PHOTOS, FACTS, strict=True)]


def echo_of(*takes: InputTensor) -> Client:
    """A client of a model that gives what it takes."""
    gives = [
        OutputTensor(name=t.name, dtype=t.dtype, shape=t.shape, kind="tensor", finite=False)
        for t in takes
    ]
    return in_memory_client(model="m", inputs=takes, outputs=gives, predict=lambda given: given)


CLIENT = echo_of(
    InputTensor(name="photo", dtype="uint8", shape=[2, 2, 3]),
    InputTensor(name="facts", dtype="float32", shape=[2]),
)


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    CLIENT.close()


def both_ways(make: Callable[[], Any], **options: Any) -> dict[str, list[Any]]:
    """What a job gives, which is what a call gives; None in rows that failed."""
    results = CLIENT.submit(make(), model="m", **options).results(partial=True)
    called = CLIENT.predict(make(), model="m", errors="nan", **options)
    for name, array in called.items():
        np.testing.assert_array_equal(results.outputs[name], array, strict=True)
    return {
        name: [row if ok else None for row, ok in zip(array.tolist(), results.ok, strict=True)]
        for name, array in results.outputs.items()
    }


def gone_in(rows: Sequence[int] = range(3)) -> dict[str, list[Any]]:
    return {name: array[list(rows)].tolist() for name, array in BOTH.items()}


def encoded(photo: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    return file.getvalue()


def test_mappings_and_streams_of_them_go_in() -> None:
    for make in (
        lambda: BOTH,
        lambda: {"facts": FACTS.astype(">f8").tolist(), "photo": PHOTOS.astype(np.int64)},
        lambda: {"photo": iter(PHOTOS), "facts": iter([FACTS[:2], FACTS[2:]])},
        lambda: {"photo": [Image.fromarray(photo) for photo in PHOTOS], "facts": FACTS},
        lambda: {"photo": map(encoded, PHOTOS), "facts": FACTS},
        lambda: iter(ROWS),
        lambda: [{**row, "label": 1} for row in ROWS],
        lambda: ((row, 1) for row in ROWS),
        lambda: [{name: array[part] for name, array in BOTH.items()} for part in PARTS],
        lambda: [ItemBlock(rows=Rows(PHOTOS, FACTS), item_ids=None, where="camera")],
    ):
        assert gone_in() == both_ways(make)
    assert gone_in([1]) == both_ways(lambda: ROWS[1])
    assert gone_in([1]) == both_ways(lambda: {**ROWS[1], "facts": [2, 3]})


def test_ids_come_with_mappings() -> None:
    for make in (
        lambda: zip("abc", ROWS, strict=True),
        lambda: [(["a", "b", "c"], BOTH)],
        lambda: [ItemBlock(rows=Rows(PHOTOS, FACTS), item_ids=list("abc"), where="camera")],
    ):
        assert ["a", "b", "c"] == CLIENT.submit(make(), model="m").results().item_ids


@pytest.mark.parametrize("package", ["pyarrow", "pandas", "polars"])
def test_columns_of_frames_are_bound_by_name(package: str) -> None:
    module: Any = pytest.importorskip(package)
    make = module.table if package == "pyarrow" else module.DataFrame
    frame = make({"id": [1, 2, 3], **gone_in()})
    renamed = make({"p": PHOTOS.reshape(3, -1).tolist(), "facts": FACTS.tolist()})

    assert gone_in() == both_ways(lambda: frame)
    assert gone_in() == both_ways(
        lambda: make({"p": gone_in()["photo"], **gone_in()}), columns={"photo": "p"}
    )
    assert gone_in() == both_ways(
        lambda: [{"p": row["photo"], "facts": row["facts"]} for row in ROWS], columns={"photo": "p"}
    )
    assert gone_in() == both_ways(
        lambda: {
            "photo": PHOTOS,
            "facts": make({"a": FACTS[:, 0].tolist(), "b": FACTS[:, 1].tolist()}),
        }
    )
    nulls = make({"photo": gone_in()["photo"], "facts": [[0, 1], None, [4, None]]})
    assert [True, False, False] == [row is not None for row in both_ways(lambda: nulls)["facts"]]
    # The only other column is the only other input, and may hold an image's numbers in a row.
    assert gone_in() == both_ways(lambda: renamed)
    # Several columns are one input's values.
    a, b = FACTS.T.tolist()
    apart = make({"b": b, "photo": gone_in()["photo"], "a": a, "of": ["x", "y", "z"]})
    beside: dict[str, Any] = {"columns": {"facts": ["a", "b"]}}
    assert gone_in() == both_ways(lambda: apart, **beside)
    assert gone_in() == both_ways(lambda: iter([apart]), **beside)
    assert gone_in() == both_ways(lambda: {"photo": PHOTOS, "a": a, "b": b}, **beside)
    rows = [{"photo": photo, "a": x, "b": y} for photo, x, y in zip(PHOTOS, a, b, strict=True)]
    assert gone_in() == both_ways(lambda: rows, **beside)
    with pytest.raises(InputError, match=r"inputs has the columns 'q', 'p', and m:1 takes"):
        CLIENT.submit(make({"q": [1], "p": [2]}), model="m")
    with pytest.raises(InputError, match=r"several shapes \('a': \(3,\), 'b': \(2,\)\)"):
        CLIENT.submit({"photo": PHOTOS, "a": a, "b": b[:2]}, model="m", **beside)


def test_files_with_the_inputs_names_go_in(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **BOTH)
    np.savez_compressed(tmp_path / "b.npz", photo=PHOTOS, facts=FACTS.astype(np.float64))
    save_file({"facts": FACTS, "photo": PHOTOS}, tmp_path / "a.safetensors")
    np.save(tmp_path / "photos.npy", PHOTOS)
    for name in ("a.npz", "b.npz", "a.safetensors"):
        assert gone_in() == both_ways(lambda name=name: tmp_path / name)
    assert gone_in() == both_ways(lambda: {"photo": tmp_path / "photos.npy", "facts": FACTS})
    assert gone_in([0, 1, 2] * 2) == both_ways(
        lambda: [tmp_path / "a.npz", tmp_path / "a.safetensors"]
    )
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = {"p": PHOTOS.reshape(3, -1).tolist(), "a": FACTS[:, 0], "b": FACTS[:, 1]}
    parquet.write_table(pa.table(rows), tmp_path / "a.parquet")
    assert gone_in() == both_ways(
        lambda: tmp_path / "a.parquet", columns={"photo": "p", "facts": ["a", "b"]}
    )
    save_file({"facts": FACTS, "photos": PHOTOS}, tmp_path / "c.safetensors")
    save_file({"facts": FACTS[:2].copy(), "photo": PHOTOS}, tmp_path / "d.safetensors")
    Image.fromarray(PHOTOS[0]).save(tmp_path / "a.png")
    for name, why in (
        ("c.safetensors", "lacks 'photo' and has 'photos', which is none of them; m:1 takes 2"),
        ("d.safetensors", "'photo' has 3 items, 'facts' has 2 items"),
        ("photos.npy", r"holds one array, and m:1 takes 2 inputs, .* give an \.npz"),
        ("a.png", "holds images alone, and m:1 takes 2 inputs"),
    ):
        with pytest.raises(InputError, match=why):
            CLIENT.submit(tmp_path / name, model="m")


def test_texts_and_lengths_come_back_from_the_file_that_a_shard_is(tmp_path: Path) -> None:
    takes = [
        InputTensor(name="words", dtype="string", shape=[None]),
        InputTensor(name="age", dtype="float32", shape=[1]),
    ]
    words = [np.array([b"a", b"b"], object), np.array(["é".encode()], object)]
    ages = np.array([[1], [2]], np.float32)
    (tmp_path / "a.safetensors").write_bytes(to_tensor_file({"words": words, "age": ages}, takes))

    with echo_of(*takes) as client:
        outputs = client.submit(tmp_path / "a.safetensors", model="m").results().outputs
        called = client.predict({"words": [["a", "b"], ["é"]], "age": [1, 2]}, model="m")

    assert ages.tolist() == outputs["age"].tolist() == called["age"].tolist()
    for found in (outputs["words"], called["words"]):
        assert [["a", "b"], ["é"]] == [[_text(cell) for cell in row] for row in found]


def _text(cell: Any) -> str:
    return cell.decode() if isinstance(cell, bytes) else str(cell)


def test_bad_values_of_one_input_fail_their_items_alone() -> None:
    for make in (
        lambda: {"photo": PHOTOS, "facts": [[0, 1], [None, 3], [4, 5]]},
        lambda: {"photo": PHOTOS, "facts": [[0, 1], [np.nan, 3], [4, 5]]},
        lambda: [ROWS[0], {**ROWS[1], "facts": None}, ROWS[2]],
        lambda: {
            "photo": [encoded(PHOTOS[0]), encoded(PHOTOS[1])[:40], encoded(PHOTOS[2])],
            "facts": FACTS,
        },
    ):
        found = both_ways(make)
        assert [False, True, False] == [row is None for row in found["facts"]]
        assert [False, True, False] == [row is None for row in found["photo"]]
    errors = (
        CLIENT.submit({"photo": PHOTOS, "facts": [[0, 1], [None, 3], [4, 5]]}, model="m")
        .results(partial=True)
        .errors
    )
    assert {1: "'facts': null among its values"} == errors


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: {"photo": PHOTOS}, "inputs lacks 'facts'; m:1 takes 2 inputs, 'photo', 'facts'"),
    (lambda: {**BOTH, "fact": 1}, "inputs has 'fact', which is none of them; m:1 takes 2 inputs"),
    (lambda: {"photo": PHOTOS, "fact": FACTS}, "inputs lacks 'facts' and has 'fact'"),
    (lambda: [{"photo": PHOTOS[0]}], "inputs[0] lacks 'facts'"),
    (lambda: {**BOTH, "facts": FACTS[:2]}, "'photo' has 3 items, 'facts' has 2 items; give as"),
    (lambda: {**BOTH, "photo": PHOTOS[:1]}, "'photo' has 1 item, 'facts' has 3 items"),
    (lambda: {**BOTH, "facts": None}, "inputs['facts'] is NoneType"),
    (lambda: {**BOTH, "facts": FACTS[:, :1]}, "inputs['facts']: items of shape (1,), but m:1"),
    (lambda: {**BOTH, "photo": PHOTOS / 2}, "inputs['photo']: dtype float64, but m:1 takes uint8"),
    (lambda: [PHOTOS, FACTS], "inputs is list, and m:1 takes 2 inputs, 'photo', 'facts'; give a"),
    (lambda: (PHOTOS, FACTS), "give a mapping, {'photo': …, 'facts': …}"),
    (lambda: PHOTOS, "inputs is ndarray"),
    (lambda: iter([(PHOTOS, FACTS)]), "inputs[0] is tuple"),
    (lambda: Image.fromarray(PHOTOS[0]), "inputs is Image"),
    (lambda: "photo", "inputs is str"),
    (dict, "inputs lacks 'photo', 'facts'"),
    (list, "there are no items"),
    (lambda: [ItemBlock(rows=Rows(PHOTOS), item_ids=None, where="x")], "x has rows of 1 arrays"),
]


def test_what_is_not_said_by_name_is_refused() -> None:
    for make, why in REFUSED:
        with pytest.raises(InputError) as submitted:
            CLIENT.submit(make(), model="m")
        with pytest.raises(InputError) as called:
            CLIENT.predict(make(), model="m")
        assert why in str(submitted.value)
        assert str(submitted.value) == str(called.value)
    for columns, why in (
        ({"fact": "a"}, "columns has 'fact', and m:1 takes 2 inputs"),
        ({"facts": 3}, "columns has 'facts': 3; give the name of a column"),
        ("facts", "give the column of each input"),
        ({"facts": ["a"] * 3}, "columns has 3 for 'facts', and m:1 takes"),
    ):
        with pytest.raises((InputError, UsageError), match=why):
            CLIENT.submit(BOTH, model="m", columns=columns)  # type: ignore[arg-type]  # wrong
