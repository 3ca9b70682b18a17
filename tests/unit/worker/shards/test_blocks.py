"""A shard's photographs are predicted block by block while the next ones are decoded."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from fornada.errors import PredictionError
from fornada.formats.images import DecoderPool, decode_item
from fornada.formats.rows import Rows
from fornada.jobs import shard_files
from fornada.jobs.items import Predicted
from fornada.jobs.shard_files import ImageFiles
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from worker.shards.blocks import block_items, predict_blocks

TAKEN = InputTensor(name="x", dtype="float32", shape=[2, 2, 3], image=ImagePreprocessing())
GIVES = [OutputTensor(name="y", shape=[1], kind="values")]
COUNT, BLOCK = 20, 3


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (5, 4), (shade, shade, shade)).save(file, "PNG")
    return file.getvalue()


def files(*, broken: int | None = None) -> ImageFiles:
    contents = [png(n) for n in range(COUNT)]
    if broken is not None:
        contents[broken] = b"no image"
    return ImageFiles(contents=contents, names=[str(n) for n in range(COUNT)])


def shades(groups: list[Rows], tile_items: int = 1) -> list[Predicted]:
    """The model: the shade of each photograph."""
    return [Predicted(Rows(each.only[:, 0, 0, :1].copy()), {}, tile_items) for each in groups]


def test_blocks_give_what_the_whole_shard_gives_and_a_broken_photograph_fails_alone() -> None:
    with DecoderPool(2) as pool:
        found = predict_blocks(
            lambda: files(broken=7).blocks(TAKEN, pool=pool, item_count=BLOCK),
            predict=shades,
            gives=GIVES,
        )

    (column,) = found.placed.columns
    assert [float(n) for n in range(COUNT) if n != 7] == np.delete(column[:, 0], 7).tolist()
    (error,) = found.placed.errors
    assert (7, "7 is not an image", True) == (
        error.index,
        error.reason[:17],
        bool(np.isnan(column[7])),
    )
    assert (1, 0) == (found.tile_items, found.orientations_ignored)


def test_a_block_is_decoded_while_the_one_before_is_predicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = {str(n): threading.Event() for n in range(COUNT)}

    def decode(data: bytes, *, taken: InputTensor, where: str) -> np.ndarray:
        begun[where].set()
        return decode_item(data, taken=taken, where=where)

    def predict(groups: list[Rows]) -> list[Predicted]:
        # Only the block that is begun after this one was given lets it end.
        first = int(groups[0].only[0, 0, 0, 0])
        following = first + 3 * BLOCK
        assert following >= COUNT or begun[str(following)].wait(timeout=30)
        return shades(groups)

    monkeypatch.setattr(shard_files, "decode_item", decode)
    with DecoderPool(1) as pool:
        found = predict_blocks(
            lambda: files().blocks(TAKEN, pool=pool, item_count=BLOCK), predict=predict, gives=GIVES
        )

    assert list(range(COUNT)) == found.placed.columns[0][:, 0].tolist()


def test_a_few_blocks_are_in_memory_however_slow_the_model_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed, decoded, predicted, most = threading.Condition(), 0, 0, 0

    def decode(data: bytes, *, taken: InputTensor, where: str) -> np.ndarray:
        nonlocal decoded, most
        with changed:
            decoded += 1
            most = max(most, decoded - predicted)
            changed.notify_all()
        return decode_item(data, taken=taken, where=where)

    def predict(groups: list[Rows]) -> list[Predicted]:
        nonlocal predicted
        first = int(groups[0].only[0, 0, 0, 0])
        with changed:
            # Slower than the decoders, which have done the next two blocks.
            assert changed.wait_for(lambda: decoded >= min(COUNT, first + 3 * 2), timeout=30)
            predicted += sum(map(len, groups))
        return shades(groups)

    monkeypatch.setattr(shard_files, "decode_item", decode)
    with DecoderPool(4) as pool:
        predict_blocks(
            lambda: files().blocks(TAKEN, pool=pool, item_count=2), predict=predict, gives=GIVES
        )

    # two blocks that are predicted, and two that are decoded
    assert (COUNT, COUNT) == (decoded, predicted)
    assert 3 * 2 <= most <= 4 * 2


def test_all_blocks_are_in_calls_of_one_size_though_calls_become_smaller() -> None:
    calls = []

    def predict(groups: list[Rows]) -> list[Predicted]:
        calls.append(len(groups))
        return shades(groups, tile_items=8 if len(calls) < 3 else 4)

    with DecoderPool(2) as pool:
        found = predict_blocks(
            lambda: files().blocks(TAKEN, pool=pool, item_count=BLOCK), predict=predict, gives=GIVES
        )

    assert (2 * 7, 4) == (len(calls), found.tile_items)
    assert list(range(COUNT)) == found.placed.columns[0][:, 0].tolist()


def test_what_the_model_raises_over_a_block_is_raised() -> None:
    def predict(groups: list[Rows]) -> list[Predicted]:
        if groups[0].only[0, 0, 0, 0] == 2 * BLOCK:
            raise PredictionError("no")
        return shades(groups)

    with DecoderPool(2) as pool, pytest.raises(PredictionError, match="no"):
        predict_blocks(
            lambda: files().blocks(TAKEN, pool=pool, item_count=BLOCK), predict=predict, gives=GIVES
        )


def test_a_block_is_whole_calls_and_of_some_megabytes() -> None:
    photo_bytes, thumb_bytes = 224 * 224 * 3 * 4, 32 * 32 * 3 * 4
    assert (24, 26, 64, 512) == (
        block_items(4, photo_bytes),
        block_items(2, photo_bytes),
        block_items(32, thumb_bytes),
        block_items(512, photo_bytes),
    )
