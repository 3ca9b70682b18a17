"""Steps that tests of coordination share."""

from fornada.coordination.interface import Admission, Claim, Leases, Recovery

#: A lease that outlasts its test.
LONG_S = 60.0


def begin(
    leases: Leases, job_id: str, shard: int, attempt: str, *, lease_s: float = LONG_S
) -> Admission:
    """Begin one attempt."""
    return leases.begin([Claim(job_id, shard, attempt)], lease_s=lease_s)[0]


def let_pass(coordination: Recovery, seconds: float) -> None:
    """Move the queue's clock, as its leader does while time passes."""
    last = coordination.beat("leader", after=None, step_s=0)
    coordination.beat(last.holder, after=last, step_s=seconds)
