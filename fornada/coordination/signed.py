"""Answers that Redis keeps, believed only if one of the deployment's keys signed them."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from fornada.coordination.interface import Decisions
from fornada.logs import get_logger
from fornada.repeated import Repeated
from fornada.trust.deployment_keys import HMAC_DIGITS, DeploymentKeys, Kind

log = get_logger(__name__)

#: Without a key, how long the author of an end in Redis has to write it to the store.
_WRITTEN_WITHIN_S = 10.0
#: Jobs of which such an end is remembered.
_KEPT_DOUBTED = 1024


class SignedDecisions:
    """`Decisions` whose answers carry a signature: 64 hex digits, a line feed, the answer.

    Whoever can write to Redis can put an answer there first. One that no key signed is a hint at
    most: the proposed answer holds instead, which the caller made from what the store says. Without
    any key, another process may be about to write the end that Redis holds: it is given time.

    Args:
        decisions: Where the answers are kept.
        deployment_keys: Sign and verify; without any, no answer of another process is believed.
        monotonic: This machine's clock, in seconds.
    """

    def __init__(
        self,
        decisions: Decisions,
        *,
        deployment_keys: DeploymentKeys,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decisions = decisions
        self._keys = deployment_keys
        self._monotonic = monotonic
        self._repeated = Repeated()
        self._lock = threading.Lock()
        #: Job → when an end that no key signed was first seen.
        self._doubted: OrderedDict[str, float] = OrderedDict()

    def decide(self, question: str, answer: bytes) -> bytes:
        """As `Decisions`; `answer`, if the first one is not signed."""
        proposed = self._sealed("decision", question, answer)
        first = self._decisions.decide(question, proposed)
        opened = answer if first == proposed else self._opened("decision", question, first)
        return answer if opened is None else opened

    def decide_ends(
        self, ends: Mapping[str, bytes], *, only_counted: bool = False
    ) -> dict[str, bytes]:
        """As `Decisions`; the proposed end, if the first one is not signed.

        With `only_counted`, a job whose first end is not signed is left out too; so is, without a
        key, one whose first end may still be written by another process.
        """
        proposed = {job_id: self._sealed("end", job_id, end) for job_id, end in ends.items()}
        decided: dict[str, bytes] = {}
        for job_id, first in self._decisions.decide_ends(
            proposed, only_counted=only_counted
        ).items():
            own = first == proposed[job_id]
            end = ends[job_id] if own else self._opened("end", job_id, first)
            if end is not None:
                decided[job_id] = end
            elif self._is_never_written(job_id) and not only_counted:
                decided[job_id] = ends[job_id]
        return decided

    def _is_never_written(self, job_id: str) -> bool:
        """Whether no process is about to write the end that Redis holds, and no key signed."""
        if self._keys:
            return True
        with self._lock:
            now_s = self._monotonic()
            since_s = self._doubted.setdefault(job_id, now_s)
            if len(self._doubted) > _KEPT_DOUBTED:
                self._doubted.popitem(last=False)
            return now_s - since_s >= _WRITTEN_WITHIN_S

    def _sealed(self, kind: Kind, name: str, answer: bytes) -> bytes:
        signature = self._keys.sign(kind, name, answer)
        return answer if signature is None else signature.encode() + b"\n" + answer

    def _opened(self, kind: Kind, name: str, kept: bytes) -> bytes | None:
        signature, answer = kept[:HMAC_DIGITS], kept[HMAC_DIGITS + 1 :]
        text = signature.decode("ascii", "replace")
        if self._keys.verify(kind, name, answer, text):
            return answer
        why = "no key signed it" if self._keys else "FORNADA_DEPLOYMENT_KEYS is not set"
        # Anyone may have put thousands there.
        what = "answer in Redis not believed"
        self._repeated.log(log.warning, what, about=kind, kind=kind, of=name, why=why)
        return None
