"""Transposes move below what does not care, and nothing else changes."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("openvino")


def _run(code: str) -> str:
    """What the code prints, in a process where Keras may run on OpenVINO."""
    before = """
        import numpy as np
        import openvino
        from openvino import opset16 as ops
        from model_store.engines.openvino_transposes import sink_transposes

        rng = np.random.default_rng(0)
        items = rng.random((2, 4, 5, 3), np.float32)

        def parameter():
            return ops.parameter([2, 4, 5, 3], np.float32)

        def first(value):
            return ops.transpose(value, np.array([0, 3, 1, 2], np.int64))

        def last(value):
            return ops.transpose(value, np.array([0, 2, 3, 1], np.int64))

        def kinds(graph):
            names = [op.get_type_name() for op in graph.get_ordered_ops()]
            return [name for name in names if name not in {"Constant", "Parameter", "Result"}]

        def outputs(graph):
            return openvino.Core().compile_model(graph, "CPU")(items)[0]

        def sunk(result, given):
            graph = openvino.Model([result.output(0)], [given])
            before = outputs(graph)
            sink_transposes(graph)
            after = outputs(graph)
            assert before.shape == after.shape, (before.shape, after.shape)
            assert before.tobytes() == after.tobytes()
            print(*kinds(graph))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(before) + textwrap.dedent(code)],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "" == ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        pytest.param(
            "ops.relu(ops.add(last(x), rng.random((1, 1, 1, 4), np.float32)))",
            "Add Relu Transpose",
            id="a bias and an activation",
        ),
        pytest.param(
            "ops.add(last(x), rng.random(4).astype(np.float32))",
            "Add Transpose",
            id="a bias of fewer axes",
        ),
        pytest.param(
            "ops.multiply(np.float32(3), last(x))", "Multiply Transpose", id="a number on the left"
        ),
        pytest.param(
            "ops.add(last(ops.relu(x)), last(x))", "Relu Add Transpose", id="two branches alike"
        ),
    ],
)
def test_they_move_below_element_wise_operations(below: str, expected: str) -> None:
    found = _run(f"x = parameter()\nsunk({below}, x)\n")

    assert expected == found


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        pytest.param("ops.add(last(x), x)", "Transpose Add", id="one branch alone"),
        pytest.param(
            "ops.add(last(x), ops.transpose(x, np.array([0, 2, 3, 1], np.int64)))",
            "Add Transpose",
            id="the same, said otherwise",
        ),
        pytest.param(
            "ops.softmax(last(x), axis=1)", "Transpose Softmax", id="what takes a row together"
        ),
    ],
)
def test_they_stay_where_it_would_matter(above: str, expected: str) -> None:
    # All axes of one length, or the two branches would not fit.
    found = _run(
        "items = rng.random((3, 3, 3, 3), np.float32)\n"
        f"x = ops.parameter([3, 3, 3, 3], np.float32)\nsunk({above}, x)\n"
    )

    assert expected == found


def test_one_that_others_read_too_stays_for_them() -> None:
    found = _run(
        """
        x = parameter()
        turned = last(x)
        sunk(ops.concat([ops.relu(turned), ops.softmax(turned, axis=3)], axis=0), x)
        """
    )

    assert sorted(["Relu", "Transpose", "Transpose", "Softmax", "Concat"]) == sorted(found.split())
