"""The examples of docs/reference/python.md run, and the page has every public name."""

import dataclasses
import doctest
import re
from pathlib import Path

import numpy as np

import producer
from producer.testing import in_memory_client

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "python.md"
TEXT = PAGE.read_text(encoding="utf-8")
LEVELS = {"shirt": 0.8, "shoe": 0.1, "bag": 0.1}


def test_examples_give_what_the_page_says() -> None:
    # given
    examples = "\n".join(re.findall(r"^```pycon\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
    client = in_memory_client(
        model="fashion-mnist",
        item_shape=[28, 28],
        classes=list(LEVELS),
        predict=lambda images: np.tile(np.float32([*LEVELS.values()]), (len(images), 1)),
    )
    test = doctest.DocTestParser().get_doctest(
        examples, {"client": client, "np": np}, PAGE.name, str(PAGE), 0
    )
    report: list[str] = []

    # when
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    outcome = runner.run(test, out=report.append)

    # then
    assert 0 == outcome.failed, "".join(report)
    assert outcome.attempted > 20


def test_every_exported_name_is_there() -> None:
    assert [] == [name for name in producer.__all__ if name not in TEXT]


def test_every_member_of_what_callers_get_is_there() -> None:
    # given
    classes = [producer.Client, producer.Job, producer.JobStatus, producer.Results]
    members = {name for cls in classes for name in dir(cls) if not name.startswith("_")}
    fields = {
        field.name
        for cls in (producer.JobStatus, producer.Results, producer.ShardResult)
        for field in dataclasses.fields(cls)
    }

    # then
    assert [] == sorted(
        name for name in members | fields if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", TEXT)
    )
