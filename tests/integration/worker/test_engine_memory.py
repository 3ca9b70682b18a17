"""An engine takes no more memory after it has loaded and dropped very many models."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("programs") / "loading_engine.py"
#: Seen: none, and 150 where TensorFlow is not told to forget.
MOST_GROWTH_MIB = 4.0


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the process through /proc")
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_models_that_are_loaded_and_dropped_leave_nothing_behind() -> None:
    ended = subprocess.run(
        [sys.executable, str(PROGRAM)], capture_output=True, text=True, check=True, timeout=110
    )

    assert MOST_GROWTH_MIB > float(ended.stdout)
