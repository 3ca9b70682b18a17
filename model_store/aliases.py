"""Where a model's aliases point, and where they pointed before: a numbered log of moves each."""

from collections.abc import Sequence

from fornada import keys
from fornada.errors import UsageError
from fornada.parallel import in_parallel
from fornada.records import AliasMove, now
from fornada.storage.interface import ObjectStore
from model_store.claims import claim_number, last_ticket


class Aliases:
    """The aliases of models in an object store.

    Each move is an object of its own, under a number that is claimed once. So of two moves at
    once none is lost, on any store, and whoever reads the last one reads a whole one.
    """

    def __init__(self, *, objects: ObjectStore) -> None:
        self._objects = objects

    def targets(self, name: str) -> dict[str, int]:
        """The version that each alias of the model points to."""
        # In key order: of each alias the last is kept.
        last = {
            keys.alias_of(info.key): info.key
            for info in self._objects.list(keys.ModelKeys(name).aliases_prefix)
            if keys.is_alias_move(info.key)
        }
        moves = in_parallel(self._read, list(last.values()))
        return {alias: move.version for alias, move in zip(last, moves, strict=True)}

    def version(self, name: str, alias: str) -> int | None:
        """The version that the alias points to; nothing if there is no such alias."""
        moves = self._keys(name, alias)
        return self._read(moves[-1]).version if moves else None

    def history(self, name: str, alias: str) -> list[AliasMove]:
        """Every move of the alias, the first one first."""
        return list(in_parallel(self._read, self._keys(name, alias)))

    def move(self, name: str, alias: str, version: int, *, rollback: bool = False) -> AliasMove:
        """Point the alias at `version`, whatever others do at the same time."""
        keys.check_name("alias", alias)
        move = AliasMove(version=version, moved_at=now(), rollback=rollback)
        tickets = keys.ModelKeys(name).alias_tickets(alias)
        last = max(map(keys.alias_move_number, self._keys(name, alias)), default=0)
        claim_number(
            self._objects,
            move.to_json(),
            first=1 + max(last, last_ticket(self._objects, tickets)),
            key=lambda number: keys.ModelKeys(name).alias_move(alias, number),
            tickets=tickets,
        )
        return move

    def _keys(self, name: str, alias: str) -> list[str]:
        found = self._objects.list(keys.ModelKeys(name).alias_prefix(alias))
        return [info.key for info in found if keys.is_alias_move(info.key)]

    def _read(self, key: str) -> AliasMove:
        return AliasMove.from_json(self._objects.get(key).data, where=key)


def rollback_target(moves: Sequence[AliasMove], existing: Sequence[int], *, alias: str) -> int:
    """The version that the alias pointed to before, of those that exist.

    Going back twice goes back two moves: what was left by going back is not gone back to.

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
