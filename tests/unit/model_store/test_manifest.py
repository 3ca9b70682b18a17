"""How models are referred to."""

import pytest

from fornada.errors import UsageError
from model_store.manifest import ModelRef


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", ModelRef(name="m")),
        ("fashion-mnist:12", ModelRef(name="fashion-mnist", version=12)),
        ("fashion-mnist@prod", ModelRef(name="fashion-mnist", alias="prod")),
    ],
)
def test_a_reference_is_read_and_written_alike(text: str, expected: ModelRef) -> None:
    assert expected == ModelRef.parse(text)
    assert text == str(ModelRef.parse(text))


@pytest.mark.parametrize(
    "text", ["", ":1", "m:", "m:x", "m:1@a", "m@", "../m", "m@a/b", ".m", "m n"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a"):
        ModelRef.parse(text)
