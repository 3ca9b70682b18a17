"""The program behind the wall: loads models within its limits, or ends."""

import argparse
import functools
import os
import sys

from fornada.errors import FornadaError, error_line
from model_store.engines.catalog import open_for_trial
from model_store.engines.interface import Engine
from model_store.engines.trial import check
from model_store.publishing.description import describe
from model_store.wall.limits import apply_limits
from model_store.wall.messages import REQUESTS, Answer, Failed, Request


def main() -> None:
    """Answer requests from stdin until it closes."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("--data-bytes", type=int, required=True)
    parser.add_argument("--cpu-s", type=int, required=True)
    arguments = parser.parse_args()
    apply_limits(data_bytes=arguments.data_bytes, cpu_s=arguments.cpu_s)
    # Other output, of native code too, must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin.buffer:
        answers.write(answered(REQUESTS.validate_json(line, strict=True)).to_json() + b"\n")


def answered(request: Request) -> Answer:
    """The answer to a request."""
    try:
        if request.task == "check":
            return check(request, _engine(request.engine))
        # An engine chooses Keras's backend and its threads, before it computes.
        _engine(request.engine)
        return describe(request)
    except FornadaError as exc:
        return Failed(error=type(exc).__name__, message=str(exc))
    except MemoryError as exc:
        return Failed(error=MemoryError.__name__, message=error_line(exc))
    except OSError as exc:
        return Failed(
            error="LocalDiskError",
            message=f"the temporary folder cannot take a model ({exc.strerror or exc}); free space "
            "there or set TMPDIR",
        )
    except Exception as exc:  # noqa: BLE001 - whoever asked says what it means
        return Failed(error=type(exc).__name__, message=error_line(exc))


@functools.cache
def _engine(name: str) -> Engine:
    return open_for_trial(name)


if __name__ == "__main__":
    main()
