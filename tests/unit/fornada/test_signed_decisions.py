"""Answers that anyone may have put into Redis: what is believed, with and without a key."""

import pytest

from fornada.coordination.interface import SmallJob
from fornada.coordination.signed import SignedDecisions
from fornada.testing import TEST_KEYS, InMemoryCoordination
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys

OTHER_KEYS = DeploymentKeys([b"x" * 32])
FORGED = [
    b"",
    b"{}",
    b"\xff" * 70,
    "ä".encode() * 40,
    (OTHER_KEYS.sign("end", "job", b"{}") or "").encode() + b"\n{}",
    # of another job, and of another kind
    (TEST_KEYS.sign("end", "other", b"{}") or "").encode() + b"\n{}",
    (TEST_KEYS.sign("decision", "job", b"{}") or "").encode() + b"\n{}",
]


def open_redis() -> InMemoryCoordination:
    redis = InMemoryCoordination()
    redis.register_small_jobs([SmallJob(job_id="job", shard_count=1)], queue="q", window=9)
    return redis


@pytest.mark.parametrize("deployment_keys", [TEST_KEYS, NO_KEYS], ids=["key", "no key"])
@pytest.mark.parametrize("forged", FORGED[1:], ids=range(1, len(FORGED)))
def test_a_forged_end_is_not_believed(forged: bytes, deployment_keys: DeploymentKeys) -> None:
    redis = open_redis()
    redis.decide_ends({"job": forged})
    now_s = 0.0
    decisions = SignedDecisions(redis, deployment_keys=deployment_keys, monotonic=lambda: now_s)

    if not deployment_keys:
        # Another process may be writing it.
        assert {} == decisions.decide_ends({"job": b"mine"})
        now_s = 10.0
    assert {"job": b"mine"} == decisions.decide_ends({"job": b"mine"})
    # and an outcome that ends its job is then committed like any other
    assert {} == decisions.decide_ends({"job": b"mine"}, only_counted=True)


def test_thousands_of_forged_ends_cost_one_line(caplog: pytest.LogCaptureFixture) -> None:
    redis, mine = InMemoryCoordination(), {f"job-{number}": b"mine" for number in range(1000)}
    redis.decide_ends(dict.fromkeys(mine, b"forged"))

    assert mine == SignedDecisions(redis, deployment_keys=TEST_KEYS).decide_ends(mine)
    assert ["answer in Redis not believed"] == caplog.messages


@pytest.mark.parametrize("deployment_keys", [TEST_KEYS, NO_KEYS], ids=["key", "no key"])
@pytest.mark.parametrize("forged", FORGED, ids=range(len(FORGED)))
def test_a_forged_decision_is_not_believed(forged: bytes, deployment_keys: DeploymentKeys) -> None:
    redis = InMemoryCoordination()
    redis.decide("manifest of job", forged)

    decisions = SignedDecisions(redis, deployment_keys=deployment_keys)

    assert b"mine" == decisions.decide("manifest of job", b"mine")


def test_with_one_key_the_first_answer_holds_for_every_process() -> None:
    redis = open_redis()
    one, other = (SignedDecisions(redis, deployment_keys=TEST_KEYS) for _ in range(2))

    ends = [each.decide_ends({"job": end}) for each, end in ((one, b"1"), (other, b"2"))]
    told = [one.decide("question", b"1"), other.decide("question", b"2")]

    assert [{"job": b"1"}, {"job": b"1"}] == ends
    assert [b"1", b"1"] == told


def test_without_a_key_each_process_goes_by_the_store() -> None:
    redis = open_redis()
    one, other = (SignedDecisions(redis, deployment_keys=NO_KEYS) for _ in range(2))

    ends = [
        each.decide_ends({"job": end}, only_counted=True)
        for each, end in ((one, b"1"), (other, b"2"))
    ]

    assert [{"job": b"1"}, {}] == ends
