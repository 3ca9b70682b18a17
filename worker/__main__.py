"""Run one worker process; `fornada worker` starts several and supervises them."""

import argparse
import atexit
import gc
import os
import signal
import sys
import threading

from fornada import logs
from fornada.commands.output import say_error
from fornada.errors import FornadaError
from fornada.settings import Settings
from worker.process import run_process

_STDIN = 0


def main() -> int:
    """Run the process that the supervisor asked for."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--threads", type=int, required=True, help="cores that predict may use")
    threads: int = parser.parse_args().threads
    # Else Python goes through everything imported once more at its end.
    atexit.register(gc.freeze)
    try:
        settings = Settings.from_env(os.environ)
        logs.configure(level=settings.log_level, log_format=settings.log_format)
        _stop_with_supervisor()
        return run_process(settings, threads=threads)
    except FornadaError as exc:
        say_error(exc)
        return exc.exit_code


def _stop_with_supervisor() -> None:
    """End as on SIGTERM when stdin closes: the supervisor was killed."""

    def wait() -> None:
        # A thread waiting in sys.stdin holds its lock, and makes Python abort at exit.
        while os.read(_STDIN, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
