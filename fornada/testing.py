"""Stand-ins for tests: object store and coordination in memory, kept to the real ones' tests."""

from fornada.coordination.memory import InMemoryCoordination
from fornada.storage.memory import InMemoryObjectStore

__all__ = ["InMemoryCoordination", "InMemoryObjectStore"]
