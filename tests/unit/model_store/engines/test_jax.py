"""The engine jax, where models are made and predicted without TensorFlow."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.engines.jax.host_memory import HostMemory, is_aligned

_ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """The answers of `jax_answers.py`."""
    if find_spec("jax") is None:
        pytest.skip("jax is not installed")
    kept = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("jax_answers.py"))],
        env={**kept, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert 0 == done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_names_itself_and_what_made_the_golden_batch(answers: dict[str, Any]) -> None:
    assert f"jax {version('jax')} float32 cpu" == answers["name"]
    assert "jax" == answers["publishing engine"]
    assert {"fornada", "jax", "keras", "numpy"} == set(answers["packages"])


def test_a_call_gives_what_keras_gives_and_leaves_earlier_outputs_as_they_are(
    answers: dict[str, Any],
) -> None:
    assert 1e-6 > answers["difference"]
    assert answers["same again after another call"]


def test_a_call_on_the_cpu_computes_in_its_thread_alone(answers: dict[str, Any]) -> None:
    for ticks in (answers, answers["normalized"]):
        # In ticks of 10 ms, of which another thread may have one for its start or end.
        assert 20 <= ticks["ticks of the caller"]
        assert 2 >= ticks["ticks of others"]


def test_a_load_compiles_nothing_and_has_the_weights_of_the_file(answers: dict[str, Any]) -> None:
    assert 0 == answers["normalized"]["programs of a load"]
    assert answers["normalized"]["same weights"]


def test_a_call_does_not_look_for_its_device(answers: dict[str, Any]) -> None:
    assert 0 == answers["normalized"]["looks"]


def test_depthwise_convolutions_are_sums_of_products_as_keras_has_them(
    answers: dict[str, Any],
) -> None:
    # The plain one, and what mixes the channels after the separable one.
    assert [1, 1] == answers["depthwise"]["groups"]
    assert 12 == len(answers["depthwise"]["differences"])
    assert 1e-5 > max(answers["depthwise"]["differences"])


def test_tokens_that_no_table_has_fail(answers: dict[str, Any]) -> None:
    assert "an index is outside of its table" in answers["token 10"]
    assert "are over 32 bits" in answers["token 2**32"]


def test_nothing_else_of_the_process_is_changed(answers: dict[str, Any]) -> None:
    assert set() == {"tensorflow", "matplotlib", "sklearn", "PIL"} & set(answers["imported"])
    assert all(before == after for before, after in answers["set for the start alone"].values())


def test_memory_is_aligned_and_used_only_for_what_is_not() -> None:
    # Given
    memory = HostMemory((2, 3), np.float32)
    aligned = memory.holding(np.ones((2, 3), np.float32)[:, ::-1])
    crooked = np.empty(25, np.uint8)[1:].view(np.float32).reshape(2, 3)
    crooked[...] = 7

    # Then
    assert aligned is memory.holding(aligned)
    assert is_aligned(aligned)
    assert not is_aligned(crooked)
    assert np.array_equal(crooked, memory.holding(crooked))
    assert memory.holding(crooked) is aligned
    assert not np.may_share_memory(aligned, memory.kept(aligned[:1]))
    assert crooked is memory.kept(crooked)
    with pytest.raises(ValueError, match=r"uint8 \(2, 3\), and the call takes float32 \(2, 3\)"):
        memory.holding(np.ones((2, 3), np.uint8))
