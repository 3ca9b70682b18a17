"""Every move of an alias is kept, and rollback goes back along them."""

from typing import Any

import pytest

from fornada import keys
from fornada.errors import ModelNotFoundError, UsageError
from fornada.jobs.store import JobStore
from model_store.removal import delete_version
from model_store.store import ModelStore


@pytest.fixture
def promoted(models: ModelStore, publish: Any) -> ModelStore:
    """A model of three versions, to which `prod` has pointed one after the other."""
    for _ in range(3):
        models.promote("m", publish().version, "prod")
    return models


def _moves(models: ModelStore) -> list[tuple[int, bool]]:
    return [(move.version, move.rollback) for move in models.alias_history("m", "prod")]


def test_two_rollbacks_go_back_two_moves(promoted: ModelStore) -> None:
    assert [2, 1] == [promoted.rollback("m", "prod") for _ in range(2)]

    assert 1 == promoted.resolve("m@prod").version
    assert [(1, False), (2, False), (3, False), (2, True), (1, True)] == _moves(promoted)


def test_a_rollback_skips_the_version_that_an_earlier_one_left(
    promoted: ModelStore,
) -> None:
    # given 1, 2, 3, back to 2, then promoted to 1
    promoted.rollback("m", "prod")
    promoted.promote("m", 1, "prod")

    # then it goes back to 2, and never to 3
    assert [2, 1] == [promoted.rollback("m", "prod") for _ in range(2)]


def test_an_alias_that_never_pointed_elsewhere_cannot_roll_back(
    models: ModelStore, publish: Any
) -> None:
    publish()
    models.promote("m", 1, "prod")
    models.promote("m", 1, "prod")

    with pytest.raises(UsageError, match="'prod' has pointed to no other version that exists"):
        models.rollback("m", "prod")


def test_a_rollback_skips_a_deleted_version(promoted: ModelStore) -> None:
    jobs = JobStore(objects=promoted.objects)
    delete_version(promoted.resolve("m:2"), models=promoted, jobs=jobs)

    assert 1 == promoted.rollback("m", "prod")


def test_an_unknown_alias_has_no_history(models: ModelStore, publish: Any) -> None:
    publish()

    with pytest.raises(ModelNotFoundError, match="no alias 'prod'"):
        models.alias_history("m", "prod")
    with pytest.raises(ModelNotFoundError, match="no alias 'prod'"):
        models.rollback("m", "prod")


def test_stray_objects_are_not_moves(promoted: ModelStore) -> None:
    for stray in ("prod.json", "prod/notes.txt", "prod/old/00000009.json", "x/readme.json"):
        promoted.objects.put(keys.ModelKeys("m").aliases_prefix + stray, b"?")

    assert {"prod": 3} == promoted.aliases("m")
    assert 3 == promoted.resolve("m@prod").version
    promoted.promote("m", 1, "prod")
    assert 1 == promoted.resolve("m@prod").version


def test_two_concurrent_rollbacks_go_back_once(promoted: ModelStore) -> None:
    # given both saw 3 and go back to 2
    promoted.rollback("m", "prod")
    move = keys.ModelKeys("m").alias_move("prod", 4)
    promoted.objects.put(keys.ModelKeys("m").alias_move("prod", 5), promoted.objects.get(move).data)

    # then the next one continues from 2
    assert 2 == promoted.resolve("m@prod").version
    assert 1 == promoted.rollback("m", "prod")
