"""Folders of texts become data sets."""

from pathlib import Path

import numpy as np
import pytest

from fornada.errors import InputError
from trainer.data.custom import load_custom


def _write(folder: Path, **texts: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_bytes(text)


def test_each_file_is_a_text_of_its_folder(tmp_path: Path) -> None:
    for label in ("good", "bad"):
        _write(tmp_path / label, **{f"n{n}": f"{label} nº {n}".encode() for n in range(9)})
    _write(
        tmp_path / "bad" / "old", marked=b"\xef\xbb\xbfbad of old", latin="não".encode("latin-1")
    )
    (tmp_path / "bad" / "notes.md").write_text("no")

    dataset = load_custom(tmp_path)

    assert ("binary", ["bad", "good"], "string", ()) == (
        dataset.kind,
        dataset.classes,
        dataset.item_dtype,
        dataset.item_shape,
    )
    assert 19 == len(dataset.train_targets) + len(dataset.test_targets)
    texts, labels = (
        np.concatenate(each).tolist() for each in zip(*dataset.splits.values(), strict=True)
    )
    expected = {b"bad of old": 0} | {f"good nº {n}".encode(): 1 for n in range(9)}
    expected |= {f"bad nº {n}".encode(): 0 for n in range(9)}
    assert expected == dict(zip(texts, labels, strict=True))
    reasons = sorted(reason.partition(" is ")[2] for reason in dataset.left_out.values())
    assert ["not UTF-8", "not a .txt file"] == reasons


def test_splits_may_be_folders(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        for label in "abc":
            _write(tmp_path / split / label, **{f"n{n}": label.encode() for n in range(count)})

    dataset = load_custom(tmp_path)

    assert ("probabilities", 9, 6) == (
        dataset.kind,
        len(dataset.train_targets),
        len(dataset.test_targets),
    )
    # and one text is too few
    _write(tmp_path / "few" / "a", one=b"x")
    (tmp_path / "few" / "b").mkdir()
    with pytest.raises(InputError, match="has 0 texts to train on and 1 to test on"):
        load_custom(tmp_path / "few")
