"""What a wall is: it loads models where they can do no harm."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from model_store.wall.limits import WallLimits
from model_store.wall.messages import Check, Describe, Described, Passed


class Wall(Protocol):
    """Loads an artifact, once or several times."""

    def describe(self, request: Describe) -> Described:
        """What a file takes and gives.

        Raises:
            FornadaError: As publishing raises it.
            ModelWallError: It takes more than the limits allow, or ends the process.
        """

    def check(self, request: Check) -> Passed:
        """Load an artifact, and have it reproduce its golden batch.

        Raises:
            ModelRefusedError: It does not.
            ModelWallError: As `describe`.
        """


#: Opens a wall with these limits, closed after the block.
OpenWall = Callable[[WallLimits], AbstractContextManager[Wall]]
