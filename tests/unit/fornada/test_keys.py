"""Names of objects and Redis keys: fixed, since other languages and older workers use them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fornada import keys
from fornada.errors import UsageError
from fornada.redis_server import keys as redis_keys

SHA = "0123456789abcdef" * 4


def test_names_stay_as_they_are() -> None:
    names = {
        "fornada.run_shard": keys.TASK_RUN_SHARD,
        "models/m/3/claim.json": keys.ModelKeys("m").version(3).claim,
        "models/m/3/manifest.json": keys.ModelKeys("m").version(3).manifest,
        "models/m/3/model.keras": keys.ModelKeys("m").version(3).artifact,
        "models/m/aliases/prod/00000007.json": keys.ModelKeys("m").alias_move("prod", 7),
        "models/m/3/signatures/k.json": keys.ModelKeys("m").version(3).signature("k"),
        "models/m/tickets/versions/00000003-": keys.ticket_prefix(
            keys.ModelKeys("m").version_tickets, 3
        ),
        "models/m/tickets/aliases/prod/": keys.ModelKeys("m").alias_tickets("prod"),
        "jobs/j/manifest.json": keys.JobKeys("j").manifest,
        "jobs/j/input/00000007-0123456789abcdef.npy": keys.JobKeys("j").input(7, SHA),
        "jobs/j/ids/00000007-0123456789abcdef.json": keys.JobKeys("j").item_ids(7, SHA),
        "jobs/j/data/00000007/a1.npy": keys.JobKeys("j").data(7, "a1"),
        "jobs/j/outcome/00000/00000007.json": keys.JobKeys("j").outcome(7),
        "jobs/j/outcome/00012/00012345.json": keys.JobKeys("j").outcome(12_345),
        "jobs/j/dead/00000007.json": keys.JobKeys("j").dead(7),
        "jobs/j/control.json": keys.JobKeys("j").control,
        "jobs/j/final.json": keys.JobKeys("j").final,
        "fornada:job:j": redis_keys.JobStateKeys("j").job,
        "fornada:attempts:j": redis_keys.JobStateKeys("j").attempts,
        "fornada:errors:j": redis_keys.JobStateKeys("j").errors,
        "fornada:leases:j": redis_keys.JobStateKeys("j").leases,
        "fornada:failed:j": redis_keys.JobStateKeys("j").failed,
        "fornada:end-lease:j": redis_keys.JobStateKeys("j").lease_to("end"),
        "fornada:decided:end of j": redis_keys.decision("end of j"),
        "fornada:done:j": redis_keys.JobStateKeys("j").done,
        "fornada:enqueued:j": redis_keys.JobStateKeys("j").enqueued,
        "fornada:ended:j": redis_keys.JobStateKeys("j").ended,
    }

    assert {name: name for name in names} == names


@given(shard=st.integers(0, 10**9))
def test_a_shard_is_found_again_in_its_keys(shard: int) -> None:
    assert shard == keys.shard_of(keys.JobKeys("j").outcome(shard))
    assert shard == keys.shard_of(keys.JobKeys("j").dead(shard))


def test_keys_sort_as_their_shards_do() -> None:
    outcomes = [keys.JobKeys("j").outcome(shard) for shard in range(0, 20_000, 7)]

    assert outcomes == sorted(outcomes)


@pytest.mark.parametrize("shard_count", [1, 999, 1000, 1001, 2000, 12_345])
def test_every_outcome_is_in_one_block_of_a_page_at_most(shard_count: int) -> None:
    prefixes = keys.JobKeys("j").outcome_blocks(shard_count)

    last = keys.JobKeys("j").outcome(shard_count - 1)
    found = [
        sum(keys.JobKeys("j").outcome(shard).startswith(prefix) for shard in range(shard_count))
        for prefix in (prefixes[0], prefixes[-1])
    ]

    assert -(-shard_count // 1000) == len(prefixes) == len(set(prefixes))
    assert min(shard_count, 1000) == found[0]
    assert (shard_count - 1) % 1000 + 1 == found[-1]
    assert last.startswith(prefixes[-1])


def test_where_the_number_of_shards_is_not_known_all_outcomes_are_one_block() -> None:
    assert [keys.JobKeys("j").outcomes_prefix] == keys.JobKeys("j").outcome_blocks(None)


def test_names_that_fit_into_keys() -> None:
    for name in ("a", "A1", "fashion-mnist", "v1.2_x", "0", "a" * 128):
        assert name == keys.check_name("job id", name)


def test_names_that_do_not_fit_are_refused() -> None:
    wrong = ["", ".", "..", ".hidden", "-x", "_x", "a/b", "a b", "a\n", "ä", "a\0b", "a:b"]
    for name in [*wrong, "a" * 129]:
        with pytest.raises(UsageError, match=r"job id .* is not a valid name"):
            keys.check_name("job id", name)
