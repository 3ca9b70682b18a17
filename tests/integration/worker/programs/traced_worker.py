"""A worker that notes how often TensorFlow has traced a function, in a file; all else is as it is.

Run as a program, with a worker's environment; it is given the file.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fornada import logs
from fornada.settings import Settings
from model_store.engines import keras_setup
from worker.process import run_process


def main() -> int:
    """Consume until a signal ends it."""
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    _note_traces(Path(sys.argv[1]))
    return run_process(settings, threads=1)


def _note_traces(path: Path) -> None:
    """Python runs the body of a `tf.function` when it is traced, and never else."""
    keras_setup.import_keras()
    tensorflow = sys.modules["tensorflow"]
    function, lock, count = tensorflow.function, threading.Lock(), 0

    def noting(body: Callable[..., Any], **options: Any) -> Any:
        def traced(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            with lock:
                count += 1
                path.write_text(str(count))
            return body(*args, **kwargs)

        return function(traced, **options)

    tensorflow.function = noting


if __name__ == "__main__":
    sys.exit(main())
