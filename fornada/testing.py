"""Stand-ins for tests: stores and coordination in memory that pass the tests of the real ones."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from fornada.coordination.memory import InMemoryCoordination
from fornada.storage.interface import ObjectStore
from fornada.storage.memory import InMemoryObjectStore
from fornada.storage.wrapper import StoreWrapper
from fornada.trust.deployment_keys import KEY_BYTES, DeploymentKeys

__all__ = ["TEST_KEYS", "HookedObjectStore", "InMemoryCoordination", "InMemoryObjectStore"]

TEST_KEYS = DeploymentKeys([bytes(KEY_BYTES)])


class HookedObjectStore(StoreWrapper):
    """Calls `before(operation, key)` before each call; a test counts, waits or raises there."""

    def __init__(self, objects: ObjectStore | None = None) -> None:
        super().__init__(objects or InMemoryObjectStore())
        self.before: Callable[[str, str], object] = lambda _operation, _key: None

    def around(self, operation: str, key: str) -> AbstractContextManager[object]:
        """Call `before`."""
        self.before(operation, key)
        return nullcontext()
