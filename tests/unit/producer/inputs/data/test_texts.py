"""Texts go in whatever holds them, a null or what is not UTF-8 fails alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.errors import InputError
from fornada.tensors import InputTensor, OutputTensor
from producer import Client
from producer.testing import in_memory_client

#: The second has letters of two bytes; the third begins as a BMP file does.
TEXTS = ["a film", "não", "BMW", ""]


def lengths_of(shape: list[int | None]) -> Client:
    """A client of a model that gives the bytes of an item's texts."""
    return in_memory_client(
        model="m",
        inputs=[InputTensor(name="text", dtype="string", shape=shape)],
        outputs=[OutputTensor(name="bytes", shape=[], kind="tensor")],
        predict=lambda items: [
            len(b"".join(item.ravel().tolist()))
            for item in np.asarray(items, object).reshape(len(items), -1)
        ],
    )


def lengths(client: Client, make: Callable[[], Any]) -> list[int | None]:
    """What a job gives, which is what a call gives; None for an item that failed."""
    results = client.submit(make(), model="m").results(partial=True)
    called = client.predict(make(), model="m", errors="nan")
    found = results.outputs["bytes"]
    np.testing.assert_array_equal(found, called)
    return [int(n) if ok else None for n, ok in zip(found, results.ok, strict=True)]


@pytest.mark.parametrize("shape", [[], [1]])
def test_texts_of_all_kinds_go_in(shape: list[int | None], tmp_path: Path) -> None:
    encoded = [text.encode() for text in TEXTS]
    np.save(tmp_path / "a.npy", np.array(TEXTS).reshape(4, *[1] * len(shape)))
    np.savez(tmp_path / "a.npz", text=np.array(TEXTS).reshape(4, *[1] * len(shape)))
    column = [
        lambda: TEXTS,
        lambda: encoded,
        lambda: np.array(TEXTS),
        lambda: np.array(encoded),
        lambda: np.array(TEXTS, object),
        lambda: np.array(TEXTS, np.dtypes.StringDType()),
        lambda: {"text": TEXTS},
    ]
    with lengths_of(shape) as client:
        for make in [
            *column,
            lambda: np.array(TEXTS)[:, np.newaxis],
            lambda: iter(TEXTS),
            lambda: [{"text": text, "label": 1} for text in TEXTS],
            lambda: zip("abcd", TEXTS, strict=True),
            lambda: enumerate(TEXTS),
            lambda: ((text, 1) for text in TEXTS),
            lambda: iter([([text], np.array([1])) for text in TEXTS]),
            lambda: tmp_path / "a.npy",
            lambda: tmp_path / "a.npz",
        ]:
            assert [6, 4, 3, 0] == lengths(client, make)
        assert [6] == lengths(client, lambda: TEXTS[0])
        for make in [
            lambda: [{"text": "ok"}, {"text": None}],
            lambda: iter(["ok", None]),
            lambda: iter([("a", "ok"), ("b", None)]),
        ]:
            assert [2, None] == lengths(client, make)
        assert [None, 2] == lengths(client, lambda: iter([None, "ok"]))
        assert (
            list("abcd")
            == client.submit(zip("abcd", TEXTS, strict=True), model="m").results().item_ids
        )
        with pytest.raises(InputError, match="does not exist"):
            client.submit(Path("a film"), model="m")


def test_columns_of_texts_go_in() -> None:
    pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    texts = ["a", None, "ccc"]
    with lengths_of([]) as client:
        for make in (
            lambda: pd.DataFrame({"text": texts, "n": [1, 2, 3]}),
            lambda: pd.Series(["a", np.nan, "ccc"]),
            lambda: pl.Series(texts),
            lambda: pa.array(texts),
            lambda: pd.Categorical(texts).astype(object),
        ):
            assert [1, None, 3] == lengths(client, make)
    with lengths_of([2]) as client:
        assert [2, None] == lengths(
            client, lambda: pd.DataFrame({"a": ["x", "y"], "b": ["z", None]})
        )
        assert [2, None] == lengths(client, lambda: [["x", "z"], ["y", None]])
    with lengths_of([None]) as client:
        lists = pd.DataFrame({"text": [["a", "bb"], ["c"], None, []]})
        assert [3, 1, None, None] == lengths(client, lambda: lists)
        with pytest.raises(InputError, match="inputs\\[0\\] is a single value"):
            client.submit(iter(TEXTS), model="m")


def test_a_text_that_is_not_utf_8_fails_alone() -> None:
    with lengths_of([]) as client:
        for bad in (b"\xff\xfe", "\ud800"):
            assert [2, None] == lengths(client, lambda bad=bad: ["ok", bad])
            job = client.submit(["ok", bad], model="m")
            assert "not UTF-8" in job.results(partial=True).errors[1]


def test_what_is_no_text_is_refused() -> None:
    with lengths_of([]) as client:
        for given, why in (
            ([1, 2], "item 0 holds 1, which is not text; m:1 takes strings"),
            (["a", 3], "item 1 holds 3, which is not text"),
            (np.arange(3), "dtype int64 is not text; m:1 takes strings"),
            ([["a", "b"]], r"items of shape \(2,\), but m:1 takes \(\)"),
            (3, "a single value|not text"),
            (None, "inputs is NoneType"),
        ):
            for call in (client.submit, client.predict):
                with pytest.raises(InputError, match=why):
                    call(given, model="m")


def test_one_long_text_costs_its_own_bytes() -> None:
    texts = ["x" * 1_000_000, *["y"] * 30_000]
    with lengths_of([]) as client:
        job = client.submit(texts, model="m")

        assert [31_030_001] > [sum(ref.size_bytes for ref in job.manifest.shards[0].objects)]
        assert 1_000_000 == job.results().outputs["bytes"][0]
