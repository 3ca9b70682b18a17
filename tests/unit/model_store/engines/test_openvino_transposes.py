"""Transposes move below what computes alike in any order, and no output changes."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("openvino")

#: Graphs of an input `x`, and the operations in them once transposes have moved.
_CASES = {
    "a bias and an activation": (
        "ops.relu(ops.add(last(x), rng.random((1, 1, 1, 3), np.float32)))",
        "Add Relu Transpose",
    ),
    "a bias of fewer axes": (
        "ops.add(last(x), rng.random(3).astype(np.float32))",
        "Add Transpose",
    ),
    "a number on the left": ("ops.multiply(np.float32(3), last(x))", "Multiply Transpose"),
    "two branches alike": ("ops.add(last(ops.relu(x)), last(x))", "Relu Add Transpose"),
    "one branch of two": ("ops.add(last(x), x)", "Transpose Add"),
    "an operation on whole rows": ("ops.softmax(last(x), axis=1)", "Transpose Softmax"),
    "another reader of the transpose": (
        "(lambda y: ops.concat([ops.relu(y), ops.softmax(y, axis=3)], axis=0))(last(x))",
        "Concat Relu Softmax Transpose Transpose",
    ),
    "a transpose and its opposite": ("first(ops.relu(last(x)))", "Relu"),
    "an activation with a constant of its own": ("ops.swish(last(x))", "Swish Transpose"),
    "a normalization as Keras makes it": (
        "swapped(normalized(swapped(last(x))))",
        "BatchNormInference Transpose",
    ),
    "a normalization of another axis": ("normalized(last(x))", "Transpose BatchNormInference"),
    "padding": (
        "ops.pad(last(x), np.int64([0, 1, 0, 0]), np.int64([0, 2, 1, 0]), 'constant')",
        "Pad Transpose",
    ),
    "branches joined": ("ops.concat([last(x), last(ops.relu(x))], -1)", "Relu Concat Transpose"),
    "branches joined of which one is not transposed": (
        "ops.concat([last(x), ops.relu(x)], -1)",
        "Transpose Relu Concat",
    ),
}
# In another process: in this one Keras runs on TensorFlow.
_PROGRAM = """
    import json
    import sys
    import numpy as np
    import openvino
    from openvino import opset16 as ops
    from model_store.engines.openvino.transposes import sink_transposes

    rng = np.random.default_rng(0)
    # One length for all axes, so that both branches of an operation always fit.
    items = rng.random((3, 3, 3, 3), np.float32)

    def last(value):
        return ops.transpose(value, np.array([0, 2, 3, 1], np.int64))

    def first(value):
        return ops.transpose(value, np.array([0, 3, 1, 2], np.int64))

    def swapped(value):
        return ops.transpose(value, np.array([0, 3, 2, 1], np.int64))

    def normalized(value):
        scale, offset, mean, variance = rng.random((4, 3), np.float32)
        return ops.batch_norm_inference(value, scale, offset, mean, variance, 1e-3)

    def outputs(graph):
        return openvino.Core().compile_model(graph, "CPU")(items)[0]

    def sunk(code):
        x = ops.parameter([3, 3, 3, 3], np.float32)
        graph = openvino.Model([eval(code, {**globals(), "x": x}).output(0)], [x])
        before = outputs(graph)
        sink_transposes(graph)
        assert before.tobytes() == outputs(graph).tobytes(), code
        names = [op.get_type_name() for op in graph.get_ordered_ops()]
        return [name for name in names if name not in {"Constant", "Parameter", "Result"}]

    json.dump({name: sunk(code) for name, code in json.load(sys.stdin).items()}, sys.stdout)
"""


def test_transposes_move_below_what_computes_alike_in_any_order() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_PROGRAM)],
        input=json.dumps({name: code for name, (code, _) in _CASES.items()}),
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert "" == ended.stderr
    found = json.loads(ended.stdout)
    # Its two branches have no order.
    found["another reader of the transpose"].sort()
    assert {name: kinds.split() for name, (_, kinds) in _CASES.items()} == found
