"""Where a model's aliases point and pointed before: a numbered log of moves for each."""

from collections.abc import Sequence

from fornada import keys
from fornada.errors import UsageError
from fornada.parallel import in_parallel
from fornada.records import MAX_SMALL_JSON_BYTES, AliasMove, now
from fornada.storage.checked_reads import read_bounded
from fornada.storage.interface import ObjectStore
from model_store.claims import claim_number


class Aliases:
    """The aliases of models in an object store.

    Each move is an object of its own, under a number claimed once. Concurrent moves are therefore
    never lost, on any store, and the last move is never read half-written.
    """

    def __init__(self, *, objects: ObjectStore) -> None:
        self._objects = objects

    def targets(self, name: str) -> dict[str, int]:
        """The version that each alias of the model points to."""
        # In key order, so that the last move of each alias is kept.
        last = {
            keys.alias_of(info.key): info.key
            for info in self._objects.list(keys.ModelKeys(name).aliases_prefix)
            if keys.is_alias_move(info.key)
        }
        moves = in_parallel(self._read, list(last.values()))
        return {alias: move.version for alias, move in zip(last, moves, strict=True)}

    def version(self, name: str, alias: str) -> int | None:
        """The version that the alias points to; `None` if there is no such alias."""
        moves = self._keys(name, alias)
        return self._read(moves[-1]).version if moves else None

    def history(self, name: str, alias: str) -> list[AliasMove]:
        """Every move of the alias, oldest first."""
        return list(in_parallel(self._read, self._keys(name, alias)))

    def move(self, name: str, alias: str, version: int, *, rollback: bool = False) -> AliasMove:
        """Point the alias at `version`; concurrent moves are all kept."""
        keys.check_name("alias", alias)
        move = AliasMove(version=version, moved_at=now(), rollback=rollback)
        of_model = keys.ModelKeys(name)
        claim_number(
            self._objects,
            move.to_json(),
            above=max(map(keys.alias_move_number, self._keys(name, alias)), default=0),
            key=lambda number: of_model.alias_move(alias, number),
            tickets=of_model.alias_tickets(alias),
        )
        return move

    def _keys(self, name: str, alias: str) -> list[str]:
        found = self._objects.list(keys.ModelKeys(name).alias_prefix(alias))
        return [info.key for info in found if keys.is_alias_move(info.key)]

    def _read(self, key: str) -> AliasMove:
        data = read_bounded(self._objects, key, most_bytes=MAX_SMALL_JSON_BYTES)
        return AliasMove.from_json(data, where=key)


def rollback_target(moves: Sequence[AliasMove], existing: Sequence[int], *, alias: str) -> int:
    """The last version that the alias pointed to before and that still exists.

    Rolling back twice goes back two moves: a version left by a rollback is skipped.

    Raises:
        UsageError: It has pointed to no other version that exists.
    """
    path: list[int] = []
    for move in moves:
        if move.rollback and move.version in path:
            while path[-1] != move.version:
                path.pop()
        else:
            path.append(move.version)
    for version in reversed(path[:-1]):
        if version in existing and version != path[-1]:
            return version
    raise UsageError(
        f"alias {alias!r} has pointed to no other version that exists; promote one by its number"
    )
