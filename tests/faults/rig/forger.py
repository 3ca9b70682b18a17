"""Whoever can write to Redis: puts junk onto the queue, and lies about open jobs."""

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from fornada.formats.npy import to_npy
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.jobs.summary import summarise
from fornada.queue.envelope import new_envelope
from fornada.queue.message import ShardMessage
from fornada.records import JOB_VERSION, ObjectRef, now
from fornada.redis_server import keys as redis_keys
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys, Kind

from ...junk import EXAMPLES, GOOD, bomb, envelope
from .deployment import ITEM_SHAPE
from .fuzzing import edited

#: Of all that is pushed onto the queue.
JUNK_SHARE = 0.1
_JUNK = [*EXAMPLES.values(), bomb(8)]
_OTHER_KEYS = DeploymentKeys([b"x" * 32])


class Forger:
    """Writes to Redis without a key of the deployment.

    Args:
        client: Of the deployment's Redis; decodes no answers.
        queue: The deployment's queue.
        chance: Decides what is written.
    """

    def __init__(self, client: Any, *, queue: str, chance: random.Random) -> None:
        self._redis = client
        self._queue = queue
        self._chance = chance
        #: What was written, by kind.
        self.written: Counter[str] = Counter()
        self.junk_count = 0
        #: Signed ends that Redis held of jobs.
        self._kept_ends: list[bytes] = []

    def pushed_count(self) -> int:
        """Elements pushed onto lists since Redis began."""
        return int(self._redis.info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"])

    def push_junk(self, job_id: str) -> None:
        """Push as much junk as the queue's share of it asks for; some is damaged messages of it."""
        good = self.pushed_count() - self.junk_count
        due = math.ceil(good * JUNK_SHARE / (1 - JUNK_SHARE)) - self.junk_count
        for _ in range(due):
            damaged = self._chance.random() < 0.3
            self._push(self._damaged(job_id) if damaged else self._chance.choice(_JUNK))
            self.junk_count += 1

    def forge(self, job: JobManifest) -> None:
        """Write one lie about an open job."""
        lies: list[Callable[[JobManifest], None]] = [
            self._end,
            self._replayed_end,
            self._counted,
            self._done,
            self._dead,
            self._ended,
            self._another_type,
            self._carried_manifest,
        ]
        lie = self._chance.choice(lies)
        lie(job)
        self.written[lie.__name__.strip("_")] += 1

    def forge_creation(self, job_id: str) -> None:
        """Answer which manifest a job has that is yet to be submitted."""
        answer = self._sealed("decision", job_id, b'{"work_sha256": "%s"}' % (b"0" * 64))
        self._redis.set(redis_keys.decision(f"manifest of {job_id}"), answer, px=300_000)
        self.written["creation"] += 1

    def _end(self, job: JobManifest) -> None:
        state = redis_keys.JobStateKeys(job.job_id)
        self._redis.set(state.end, self._sealed("end", job.job_id, _forged_end(job)))
        self._redis.hset(state.job, "counted", 1)

    def _replayed_end(self, job: JobManifest) -> None:
        """An end of another job, signed by the deployment where it has a key."""
        key = redis_keys.JobStateKeys(job.job_id).end
        kept = self._redis.get(key)
        if kept is not None:
            self._kept_ends.append(kept)
        if self._kept_ends:
            self._redis.set(key, self._chance.choice(self._kept_ends))

    def _counted(self, job: JobManifest) -> None:
        facts = {"counted": 1, "shards": self._chance.choice([-1, 1, len(job.shards), 10**15])}
        self._redis.hset(redis_keys.JobStateKeys(job.job_id).job, mapping=facts)

    def _done(self, job: JobManifest) -> None:
        state = redis_keys.JobStateKeys(job.job_id)
        some = self._chance.randint(1, len(job.shards))
        for shard in self._chance.sample(range(len(job.shards)), some):
            self._redis.setbit(state.done, shard, 1)

    def _dead(self, job: JobManifest) -> None:
        state = redis_keys.JobStateKeys(job.job_id)
        self._redis.hset(state.failed, str(self._chance.randrange(len(job.shards))), "dead")

    def _ended(self, job: JobManifest) -> None:
        state = redis_keys.JobStateKeys(job.job_id)
        self._redis.set(state.ended, self._chance.choice(["SUCCEEDED", "CANCELLED", "x"]))

    def _another_type(self, job: JobManifest) -> None:
        name = self._chance.choice(redis_keys.JobStateKeys(job.job_id).counters)
        self._redis.delete(name)
        self._redis.xadd(name, {"x": "x"})

    def _carried_manifest(self, job: JobManifest) -> None:
        """A message with the job's manifest, of which the inputs are others."""
        inputs = [
            ShardInput(objects=[_inline(np.zeros((n, *ITEM_SHAPE), np.uint8))], item_count=n)
            for n in job.shards.item_counts
        ]
        text = job.model_copy(update={"shards": Shards(inputs)}).to_json().decode()
        message = ShardMessage(
            schema_version=JOB_VERSION,
            job_id=job.job_id,
            shard=self._chance.randrange(len(job.shards)),
            manifest=text[:60_000],
            hmac=self._signer().sign("manifest", job.job_id, text.encode()),
        )
        self._push(new_envelope([message], queue=self._queue))

    def _damaged(self, job_id: str) -> bytes:
        chance = self._chance
        edits = [
            (chance.randrange(2**16), chance.choice([0, 1, 8, 200]), chance.randbytes(2))
            for _ in range(chance.randint(1, 4))
        ]
        return edited(json.dumps(envelope({**GOOD, "job_id": job_id})).encode(), edits)

    def _push(self, element: bytes) -> None:
        self._redis.lpush(self._queue, element)

    def _signer(self) -> DeploymentKeys:
        return self._chance.choice([NO_KEYS, _OTHER_KEYS])

    def _sealed(self, kind: Kind, name: str, answer: bytes) -> bytes:
        signature = self._signer().sign(kind, name, answer)
        return answer if signature is None else f"{signature}\n".encode() + answer


def _forged_end(job: JobManifest) -> bytes:
    """An end of which every result is 7."""
    outcomes = [
        ShardOutcome(
            schema_version=job.schema_version,
            job_id=job.job_id,
            shard=shard,
            status="ok",
            attempt="forged",
            data=_inline(np.full((item_count, job.output.width), 7, np.float32)),
            item_count=item_count,
            model_sha256=job.model.sha256,
            worker="nobody",
            began_at=now(),
            committed_at=now(),
        )
        for shard, item_count in enumerate(job.shards.item_counts)
    ]
    end = summarise(job, outcomes, None, None)
    if job.can_end_with_its_outcome:
        end = end.model_copy(update={"outcome": outcomes[0]})
    return end.to_json()


def _inline(array: Any) -> ObjectRef:
    return ObjectRef.of("forged.npy", to_npy(array), inline=True)
