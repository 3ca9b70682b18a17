"""Models that this process could not load: whose fault that is, and when it tries again."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fornada.errors import (
    DeviceLostError,
    FornadaError,
    InputError,
    IntegrityError,
    ModelDeclinedError,
    ModelNotFoundError,
    ModelUnusableError,
    ObjectNotFoundError,
)
from fornada.records import ModelPin

#: Time until the next try; doubles from the first to the last.
_FIRST_WAIT_S = 5.0
_LAST_WAIT_S = 300.0
#: Most models remembered.
_KEPT_MODELS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class _Declined:
    """Why a model was not loaded, and for how long it is not tried again."""

    why: str
    wait_s: float
    until_s: float


class DeclinedModels:
    """The models that a process could not load of late. Safe to share between threads.

    Trying again costs a download and a load, and succeeds only once somebody has signed the model,
    freed the disk or granted a permission.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure time by `clock`, in seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[ModelPin, _Declined] = OrderedDict()

    def note(self, model: ModelPin, why: str) -> float:
        """Remember that the model was not loaded; return the seconds until the next try."""
        with self._lock:
            known, now_s = self._known.get(model), self._clock()
            if known is not None and now_s < known.until_s:
                return known.until_s - now_s
            wait_s = _FIRST_WAIT_S if known is None else min(2 * known.wait_s, _LAST_WAIT_S)
            self._known[model] = _Declined(why=why, wait_s=wait_s, until_s=now_s + wait_s)
            self._known.move_to_end(model)
            if len(self._known) > _KEPT_MODELS:
                self._known.popitem(last=False)
            return wait_s

    def why(self, model: ModelPin) -> str | None:
        """Why the model was not loaded, until it is time to try again."""
        with self._lock:
            known = self._known.get(model)
            return known.why if known is not None and self._clock() < known.until_s else None

    def forget(self, model: ModelPin) -> None:
        """The model was loaded."""
        with self._lock:
            self._known.pop(model, None)


def declined_for(lost: DeviceLostError) -> ModelDeclinedError:
    """What is raised for a lost GPU where none of the caller's rows was in a call."""
    return ModelDeclinedError(f"the GPU fails every call ({lost})")


@contextmanager
def faults_of_loading() -> Iterator[None]:
    """Turn what a load raises into whose fault it is.

    Raises:
        ModelUnusableError, ModelNotFoundError: No worker can load the model.
        ModelDeclinedError: This worker may not or cannot; a setting, a package, a key, memory or
            another release may be all that is missing.
        DeviceLostError: The GPU fails every call.
        FornadaError: The store or the broker fails for now.
    """
    try:
        yield
    except (ModelUnusableError, ModelNotFoundError, ModelDeclinedError, DeviceLostError):
        raise
    except (ObjectNotFoundError, IntegrityError, InputError) as exc:
        raise ModelUnusableError(str(exc)).with_public_text(exc.public_text) from exc
    except FornadaError as exc:
        if exc.fault == "transient":
            raise
        raise ModelDeclinedError(str(exc)).with_public_text(exc.public_text) from exc
