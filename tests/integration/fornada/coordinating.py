"""Steps that tests of coordination share."""

import time

from fornada.coordination.interface import Admission, Claim, Leases

#: A lease that outlasts its test.
LONG_S = 60.0


def begin(
    leases: Leases, job_id: str, shard: int, attempt: str, *, lease_s: float = LONG_S
) -> Admission:
    """Begin one attempt."""
    return leases.begin([Claim(job_id, shard, attempt)], lease_s=lease_s)[0]


def let_pass(seconds: float) -> None:
    """Let the server's clock advance; there is nothing else to wait for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass
