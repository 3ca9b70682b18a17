"""The README's section on tables, text, several inputs and outputs says what the guides do."""

import re
from pathlib import Path

import numpy as np

from fornada.formats.items import Array
from fornada.tensors import InputTensor, OutputTensor
from producer.testing import in_memory_client

_ROOT = Path(__file__).parents[2]
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_SECTION = _README.partition("## Tables, text, several inputs and outputs\n")[2]
_SECTION = _SECTION.partition("\n## ")[0]


def test_commands_are_those_of_the_guide_on_tables() -> None:
    guide = (_ROOT / "docs/tables.md").read_text(encoding="utf-8")

    commands = re.findall(r"^\$ .*$", _SECTION, re.MULTILINE)

    assert len(commands) > 1
    assert [] == [command for command in commands if f"{command}\n" not in guide]


def test_python_gives_labels_masks_and_a_frame() -> None:
    # given
    def answer(items: dict[str, Array]) -> dict[str, Array]:
        count = len(items["facts"])
        room = np.tile(np.float32([0.2, 0.8]), (count, 1))
        return {"mask": np.ones((count, 4, 4), np.uint8), "room": room}

    client = in_memory_client(
        model="homes",
        inputs=[
            InputTensor(name="photo", dtype="uint8", shape=[4, 4, 3]),
            InputTensor(name="facts", dtype="float32", shape=[3]),
        ],
        outputs=[
            OutputTensor(name="mask", dtype="uint8", shape=[4, 4], kind="tensor"),
            OutputTensor(name="room", shape=[2], kind="probabilities", classes=["hall", "bath"]),
        ],
        predict=answer,
    )
    photos, facts = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 3), np.float32)
    (snippet,) = re.findall(r"```python\n(.*?)```", _SECTION, re.DOTALL)
    lines = snippet.splitlines()

    # when
    names = {"client": client, "photos": photos, "facts": facts}
    exec("\n".join(lines[:3]), names)
    labels, mask, frame = (eval(line, names) for line in lines[3:])

    # then
    assert ["bath", "bath"] == labels
    assert ((2, 4, 4), "uint8") == (mask.shape, str(mask.dtype))
    assert ["bath", "bath"] == frame["room.label"].tolist()
