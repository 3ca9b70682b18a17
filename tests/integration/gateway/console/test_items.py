"""How inputs and outputs of any shape and range are shown."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada.errors import InputError
from fornada.tensors import OutputTensor
from gateway.console import texts
from gateway.console.items.outputs import drawn_as, given_of
from gateway.console.items.overlays import drawn
from gateway.console.items.pictures import Pictures, of_array

from ....photos import encoded, in_mode, png_that_declares, with_orientation

_BLACK = Image.new("RGB", (40, 20))


def _tensor(name: str = "mask", shape: list[int | None] | None = None) -> OutputTensor:
    return OutputTensor(name=name, shape=shape or [None, None], kind="tensor")


@pytest.mark.parametrize(
    ("array", "darkest", "lightest"),
    [
        (np.array([[0, 255]], np.uint8), 0, 255),
        (np.array([[0.0, 1.0]], np.float32), 0, 255),
        (np.array([[0.25, 0.5]], np.float32), 64, 128),
        (np.array([[-1.0, 1.0]], np.float32), 0, 255),
        (np.array([[0, 200]], np.int64), 0, 200),
        (np.array([[-7, 5000]], np.int32), 0, 255),
        (np.array([[np.nan, 1.0]], np.float32), 0, 255),
    ],
)
def test_pictures_of_arrays_show_their_range(array: Any, darkest: int, lightest: int) -> None:
    picture = of_array(array, longest=99)

    assert ((darkest,) * 3, (lightest,) * 3) == (
        picture.getpixel((0, 0)),
        picture.getpixel((1, 0)),
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_files_of_every_mode_become_small_pictures(mode: str) -> None:
    data = encoded(in_mode(mode), "JPEG" if mode == "CMYK" else "PNG")

    picture = Pictures().of_file(data, longest=64)

    assert ("RGB", (64, 48)) == (picture.mode, picture.size)


def test_photographs_stand_upright() -> None:
    data = encoded(Image.new("RGB", (60, 40)), "JPEG", exif=with_orientation(6))

    assert (40, 60) == Pictures().of_file(data, longest=99).size


@pytest.mark.parametrize("data", [b"", b"<svg onload=alert(1)>", png_that_declares(50_000, 50_000)])
def test_what_is_no_picture_is_refused_before_it_takes_memory(data: bytes) -> None:
    with pytest.raises(InputError):
        Pictures().of_file(data, longest=64)


@pytest.mark.parametrize(
    ("row", "how"),
    [
        (np.zeros((20, 40), np.float32), "mask"),
        (np.zeros((20, 40, 1), np.float32), "mask"),
        (np.ones((10, 20, 1), np.bool_), "mask"),
        (np.full((20, 40), 7, np.int32), "classes"),
        (np.full((20, 40, 5), 0.2, np.float32), "classes"),
        (np.full((20, 40, 3), 1 / 3, np.float32), "classes"),
        (np.full((20, 40, 3), 200, np.uint8), "image"),
        (np.zeros((40, 20), np.float32), ""),
        (np.zeros((7,), np.float32), ""),
        (np.zeros((5, 4), np.float32), ""),
    ],
)
def test_outputs_of_the_pictures_form_are_drawn(row: Any, how: str) -> None:
    assert how == drawn_as(_tensor(), row, picture=(20, 40))


def test_boxes_are_drawn_where_their_name_says_so() -> None:
    row = np.zeros((5, 4), np.float32)

    assert ("boxes", "") == (
        drawn_as(_tensor("boxes"), row, picture=(20, 40)),
        drawn_as(_tensor("boxes"), row, picture=None),
    )


@pytest.mark.parametrize(
    "box",
    [
        [10, 5, 30, 15],
        [0.25, 0.25, 0.75, 0.75],
        [30, 5, 5, 10],
    ],
)
def test_boxes_lie_where_any_of_their_forms_says(box: list[float]) -> None:
    row = np.array([box], np.float32)

    picture = np.asarray(drawn(_BLACK, row, "boxes", size=(20, 40)).convert("L"))

    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    scale = picture.shape[1] / 40
    found = [columns[0] / scale, rows[0] / scale, columns[-1] / scale, rows[-1] / scale]
    expected = [30, 5, 35, 15] if box[0] == 30 else [10, 5, 30, 15]
    assert np.abs(np.array(found) - expected).max() < 0.5


def test_a_mask_marks_its_pixels_alone() -> None:
    mask = np.zeros((20, 40, 1), np.float32)
    mask[5:15, 10:30] = 1

    picture = np.asarray(drawn(_BLACK, mask, "mask", size=(20, 40)))

    marked = picture.any(axis=2)
    assert (0.25, True) == (marked.mean(), bool(marked[marked.shape[0] // 2, marked.shape[1] // 2]))


def test_any_box_and_any_mask_can_be_drawn() -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-9, 1, 1e9):
        boxes = (rng.normal(size=(50, 4)) * scale).astype(np.float32)
        boxes[0] = np.nan
        mask = (rng.normal(size=(20, 40, 1)) * scale).astype(np.float32)
        mask[0, 0] = np.inf
        assert drawn(_BLACK, boxes, "boxes", size=(20, 40)).size
        assert drawn(_BLACK, mask, "mask", size=(20, 40)).size


def test_large_outputs_are_summed_up() -> None:
    output = _tensor("embedding", [4000])

    given = given_of(output, np.arange(4000, dtype=np.float32), picture=None)

    assert [("smallest", 0.0), ("mean", 1999.5), ("largest", 3999.0)] == given.values


def test_numbers_and_times_read_as_people_write_them() -> None:
    at = datetime(2026, 11, 29, 14, 20, tzinfo=UTC)
    later = at + timedelta(minutes=3, seconds=20)

    assert [
        *("1,234,567", "—", "2 processes", "1 shard", "12.5%", "23,510", "0.8837"),
        *("8.2 ms", "3.4 s", "5 min 3 s", "2 h 5 min", "3 d 4 h"),
        *(
            "3 min ago",
            "in 3 min",
            "now",
            "12 KiB",
            "2026-11-29 14:20:00 UTC",
            "any \N{MULTIPLICATION SIGN} 3",
        ),
    ] == [
        texts.number(1_234_567),
        texts.number(None),
        texts.counted(2, "process"),
        texts.counted(1, "shard"),
        texts.percent(0.125),
        texts.metric(23_510.2),
        texts.metric(0.88371),
        texts.duration(0.0082),
        texts.duration(3.4),
        texts.duration(303),
        texts.duration(7500),
        texts.duration(273_600),
        texts.relative(at, later),
        texts.relative(later, at),
        texts.relative(at, at),
        texts.size(12 * 1024),
        texts.utc(at),
        texts.shape([None, 3]),
    ]
