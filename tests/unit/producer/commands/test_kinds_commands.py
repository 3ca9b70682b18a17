"""What `fornada jobs` and `fornada models compare` print for each kind of output."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from fornada.formats.items import Array
from fornada.formats.rows import Rows
from model_store.manifest import ModelDraft
from producer.client import Client
from producer.commands import compare as compare_module
from producer.commands import jobs as jobs_module
from producer.commands import results as results_module
from producer.testing import in_memory_client

_Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Client], _Run]:
    """Runs `fornada jobs …` and `compare …` on a client in memory."""

    def on(client: Client) -> _Run:
        for module in (jobs_module, results_module):
            monkeypatch.setattr(module, "client_from_env", lambda: client)
        monkeypatch.setattr(compare_module, "own_client_from_env", lambda _command: client)

        def fornada(command: click.Command, *arguments: str) -> Result:
            return CliRunner().invoke(command, arguments, catch_exceptions=False)

        return fornada

    return on


class _Model:
    """Answers each job of three items with the next of `answers`."""

    def __init__(self, *answers: Any) -> None:
        self._answers = [np.array(answer, np.float32) for answer in answers]

    def __call__(self, items: Array) -> Array:
        golden = len(items) == 1
        return self._answers[0][:1] if golden else self._answers.pop(0)


def _client(kind: str, model: _Model, classes: list[str] | None) -> Client:
    """A client whose model has two versions of that kind."""
    client = in_memory_client(
        model="m", item_shape=[2], item_dtype="float32", kind=kind, classes=classes, predict=model
    )
    first, items = client.model("m:1"), np.zeros((1, 2), np.float32)
    client._models.publish(
        ModelDraft.of_one(first.input, first.output, name="m"),
        artifact=b"another",
        golden_inputs=items,
        golden_outputs=model(items),
        check=lambda _artifact: None,
    )
    return client


#: Of each kind: class names, the outputs of both versions, and lines that comparing prints.
_COMPARED: dict[str, tuple[list[str] | None, Any, Any, list[str]]] = {
    "binary": (
        ["ham", "[spam]"],
        [[0.2], [0.7], [0.9]],
        [[0.2], [0.4], [0.9]],
        ["1 flips (33.33%)", "1: [spam] → ham", "largest change 0.300000, of 1"],
    ),
    "multilabel": (
        ["cat", "dog"],
        [[0.9, 0.9], [0.1, 0.1], [0.9, 0.1]],
        [[0.9, 0.9], [0.1, 0.1], [0.1, 0.1]],
        ["1 flips (33.33%)", "2: cat → no class"],
    ),
    "values": (["price"], [[1], [2], [3]], [[1], [2], [5]], ["largest change 2.000000, of 2"]),
    "embedding": (
        None,
        [[1, 0], [0, 1], [1, 1]],
        [[1, 0], [0, 1], [1, -1]],
        ["cosine distance 0.333333 on average, 1.000000 at most, of 2"],
    ),
}


@pytest.mark.parametrize("kind", _COMPARED)
def test_two_versions_are_compared_as_their_kind_is(
    kind: str, run: Callable[[Client], _Run], tmp_path: Path
) -> None:
    classes, first, second, lines = _COMPARED[kind]
    np.save(tmp_path / "items.npy", np.zeros((3, 2), np.float32))
    fornada = run(_client(kind, _Model(first, second, first, second), classes))
    given = ("m:1", "m:2", "--input", str(tmp_path / "items.npy"))

    text = fornada(compare_module.compare, *given).stdout
    (found,) = json.loads(fornada(compare_module.compare, *given, "--json").stdout)["outputs"]

    assert lines == [line.strip() for line in text.splitlines() if line.strip() in lines]
    assert ("cosine distance" in text, "flips" in text) == (
        kind == "embedding",
        kind in {"binary", "multilabel"},
    )
    assert [name for name in classes or [] if name not in text] == []
    assert (kind, 3) == (found["kind"], found["items"])
    assert classes == ([each["name"] for each in found["classes"] + found["values"]] or None)


def test_of_two_versions_with_several_outputs_each_is_compared(
    run: Callable[[Client], _Run], tmp_path: Path
) -> None:
    # given a model that gives another mask from the second job on
    masks = iter([1, 1, 1, 2])
    client = in_memory_client(
        model="m",
        item_shape=[2],
        predict=lambda rows: {"sum": rows.sum(axis=1), "mask": rows * next(masks)},
    )
    first = client.model("m")
    client._models.publish(
        ModelDraft(name="m", inputs=first.inputs, outputs=first.outputs),
        artifact=b"another",
        golden_inputs=np.zeros((1, 2), np.uint8),
        golden_outputs=Rows(np.zeros(1, np.uint64), np.zeros((1, 2), np.uint8)),
        check=lambda _artifact: None,
    )
    np.save(tmp_path / "items.npy", np.uint8([[1, 2], [3, 4]]))
    given = ("m:1", "m:2", "--input", str(tmp_path / "items.npy"))

    text = run(client)(compare_module.compare, *given).stdout

    assert [
        "output 'sum', tensor:",
        "2 items",
        "largest change 0.000000, of 0",
        "mean change 0.000000",
        "output 'mask', tensor:",
        "2 items",
        "largest change 4.000000, of 1",
        "mean change 2.500000",
    ] == [line.strip() for line in text.splitlines()]


def test_results_and_errors_are_safe_for_spreadsheets_unless_raw(
    run: Callable[[Client], _Run], tmp_path: Path
) -> None:
    # given ids that a spreadsheet would run, and an item that failed
    client = _client("binary", _Model([[0.25], [0.75], [float("nan")]]), ["no", "@yes"])
    ids = ["=HYPERLINK(1)", " \uff0d1", "+2"]
    job = client.submit(np.zeros((3, 2), np.float32), model="m:1", item_ids=ids)
    fornada = run(client)

    # when
    table = ("--format", "csv")
    safe, raw = (
        list(
            csv.reader(fornada(results_module.results, job.id, *table, *given).stdout.splitlines())
        )
        for given in ((), ("--raw",))
    )
    errors = fornada(jobs_module.errors, job.id, *table).stdout.splitlines()

    # then
    assert ["item_id", "label", "score", "p_@yes", "error", "model"] == safe[0]
    assert ["'=HYPERLINK(1)", "no", "0.75", "0.25", "", "m:1"] == safe[1]
    assert ["' \uff0d1", "'@yes", "0.75", "0.75", "", "m:1"] == safe[2]
    assert [*ids, "@yes"] == [*(row[0] for row in raw[1:]), raw[2][1]]
    assert ["item,item_id,reason", "2,'+2,the model gave NaN"] == errors
    # and an array has its ids beside
    path = tmp_path / "r.npy"
    done = fornada(results_module.results, job.id, "--format", "npy", "--output", str(path))
    assert f"wrote 3 results to {path}, and their ids to {tmp_path}/r.ids.txt" in done.stderr
    assert ids == (tmp_path / "r.ids.txt").read_text().splitlines()


def test_a_retry_says_how_many_items_it_leaves_out(run: Callable[[Client], _Run]) -> None:
    # given an item that could not be read at submission, and one that the model failed
    nan = float("nan")
    client = _client("values", _Model([[1], [nan]], [[2]]), ["price"])
    images = np.zeros((3, 2), object)
    images[0, 0] = None
    job = client.submit(images, model="m:1")
    fornada = run(client)

    done = fornada(jobs_module.retry_failed, job.id)

    fact = "left out 1 item that could not be read at submission"
    assert f"{fact}; `fornada jobs errors {job.id}` lists" in done.stderr
    assert ["2"] == client.job(f"{job.id}-retry").results().item_ids


def test_tags_and_reasons_are_shown_as_they_are(run: Callable[[Client], _Run]) -> None:
    client = _client("values", _Model([[1], [1], [1]]), ["price"])
    job = client.submit(
        np.zeros((3, 2), np.float32),
        model="m:1",
        tags={"see [/x]": "[link=http://x]here[/link]", "\x1b[2J": "\x9b2J\u202e"},
    )

    shown = run(client)(jobs_module.show, job.id)

    tags = [line.split() for line in shown.stdout.splitlines() if line.strip().startswith("tag ")]
    assert [
        ["tag", "see", "[/x]", "[link=http://x]here[/link]"],
        ["tag", r"\x1b[2J", r"\x9b2J\u202e"],
    ] == tags
