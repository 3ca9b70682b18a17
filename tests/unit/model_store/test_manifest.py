"""References to models."""

import pytest

from fornada.errors import UsageError
from model_store.manifest import ModelRef


def test_a_reference_is_parsed_and_printed_alike() -> None:
    references = {
        "m": ModelRef(name="m"),
        "fashion-mnist:12": ModelRef(name="fashion-mnist", version=12),
        "fashion-mnist@prod": ModelRef(name="fashion-mnist", alias="prod"),
    }
    for text, expected in references.items():
        assert expected == ModelRef.parse(text)
        assert text == str(expected)


def test_anything_else_is_refused() -> None:
    for text in ("", ":1", "m:", "m:x", "m:1@a", "m@", "../m", "m@a/b", ".m", "m n"):
        with pytest.raises(UsageError, match="is not a"):
            ModelRef.parse(text)
