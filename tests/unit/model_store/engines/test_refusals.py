"""What engines refuse alike."""

import numpy as np
import pytest

from model_store.engines.refusals import check_width, memory_errors


@pytest.mark.parametrize(
    "told", ["std::bad_alloc", "RESOURCE_EXHAUSTED: Out of memory allocating 68719476736 bytes."]
)
def test_memory_that_runs_out_is_a_memory_error_whatever_the_framework_raises(told: str) -> None:
    with pytest.raises(MemoryError), memory_errors():
        raise RuntimeError(told)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="INTERNAL"), memory_errors():
        raise RuntimeError("INTERNAL: the device is gone")


def test_integers_that_do_not_fit_are_named() -> None:
    check_width(np.array([-(2**31), 2**31 - 1]), np.int32)

    with pytest.raises(ValueError, match="values from 1 to 4294967296 are over 32 bits"):
        check_width(np.array([1, 2**32]), np.int32)
