"""The names of all objects, the queue and the task, and the rules for names."""

import hashlib
import re
import uuid
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fornada.errors import UsageError

#: The only Celery task; producers in any language address it by this name.
TASK_RUN_SHARD = "fornada.run_shard"
#: The queue of jobs that name none.
DEFAULT_QUEUE = "fornada"

MODELS_PREFIX = "models/"
JOBS_PREFIX = "jobs/"
#: The bucket's id, where every process of a deployment may read.
BUCKET_ID = "jobs/bucket-id.json"
#: Where callers put what jobs read in place, unless the operator names other prefixes.
INPUTS_PREFIX = "inputs/"
_CALIBRATIONS_PREFIX = "calibrations/"
_CONDITIONS_PREFIX = "conditions/"
_PROBE_PREFIX = "probe/"
#: What gateways alone write: API keys, uploads, and webhooks that are to be delivered.
GATEWAY_PREFIX = "gateway/"
#: All that Fornada itself writes.
OWN_PREFIXES = (
    MODELS_PREFIX,
    JOBS_PREFIX,
    GATEWAY_PREFIX,
    _CALIBRATIONS_PREFIX,
    _CONDITIONS_PREFIX,
    _PROBE_PREFIX,
)
#: The training report, beside the artifact.
REPORT_PAGE = "report.html"
#: How many training items each class has, as a JSON object, beside the artifact.
TRAINING_CLASSES = "training-classes.json"
#: What the model predicts for its test items, beside the artifact.
REFERENCE = "reference.json"

#: Shards per prefix of outcomes; S3 lists as many in one page.
_BLOCK_SHARDS = 1000

#: Of names in keys. On some stores a key is also a path, hence no slash and no leading dot.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

_NAME = re.compile(NAME_PATTERN)
_VERSION = re.compile(r"[1-9][0-9]{0,15}")
_TICKET = re.compile(r"/(?P<number>[0-9]{8,})-[^/]*\Z")
_OUTCOME = re.compile(r"/(?P<shard>[0-9]{8,})\.json\Z")
_ALIAS_MOVE = re.compile(rf"{MODELS_PREFIX}[^/]+/aliases/[^/]+/[0-9]{{8}}\.json")


def check_name(kind: str, name: str) -> str:
    """Return `name` if it may be part of a key.

    Raises:
        UsageError: It is not 1 to 128 letters, digits, `.`, `_` or `-`, a letter or digit first.
    """
    if not is_name(name):
        raise UsageError(
            f"{kind} {name!r} is not a valid name; use 1 to 128 letters, digits, '.', '_' or '-', "
            "and begin with a letter or digit"
        )
    return name


def is_name(name: str) -> bool:
    """Whether `name` may be part of a key."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class ModelKeys:
    """The keys of one model."""

    name: str

    @property
    def prefix(self) -> str:
        """Prefix of all objects of the model."""
        return f"{MODELS_PREFIX}{self.name}/"

    def version(self, number: int) -> "VersionKeys":
        """The keys of one version."""
        return VersionKeys(f"{self.prefix}{number}/")

    @property
    def aliases_prefix(self) -> str:
        """Prefix of all aliases."""
        return f"{self.prefix}aliases/"

    def alias_prefix(self, alias: str) -> str:
        """Prefix of an alias's moves, in order; the last one counts."""
        return f"{self.aliases_prefix}{alias}/"

    def alias_move(self, alias: str, number: int) -> str:
        """One move of an alias; never overwritten."""
        return f"{self.alias_prefix(alias)}{number:08d}.json"

    @property
    def version_tickets(self) -> str:
        """Prefix of claims on versions, on stores without conditional writes."""
        return f"{self.prefix}tickets/versions/"

    def alias_tickets(self, alias: str) -> str:
        """Prefix of claims on an alias's moves, on stores without conditional writes."""
        return f"{self.prefix}tickets/aliases/{alias}/"


@dataclass(frozen=True, slots=True)
class VersionKeys:
    """The keys of one version of a model."""

    #: Prefix of all objects of the version.
    prefix: str

    @property
    def claim(self) -> str:
        """The first claim on the version's number."""
        return f"{self.prefix}claim.json"

    @property
    def manifest(self) -> str:
        """The manifest; the version exists as soon as this object does."""
        return f"{self.prefix}manifest.json"

    @property
    def artifact(self) -> str:
        """The `.keras` file."""
        return f"{self.prefix}model.keras"

    @property
    def verdict(self) -> str:
        """What the wall found when the version was published."""
        return f"{self.prefix}verdict.json"

    def signature(self, key_id: str) -> str:
        """The signature of the manifest by the key with that id."""
        return f"{self.prefix}signatures/{key_id}.json"


def is_alias_move(key: str) -> bool:
    """Whether a key is an alias's move, and not some other object beside it."""
    return _ALIAS_MOVE.fullmatch(key) is not None


def alias_of(move_key: str) -> str:
    """The alias that a move's key belongs to."""
    return move_key.rsplit("/", 2)[-2]


def alias_move_number(move_key: str) -> int:
    """The number of a move, counted from 1 per alias."""
    return int(move_key.rsplit("/", 1)[-1].removesuffix(".json"))


def ticket_prefix(tickets: str, number: int) -> str:
    """Prefix of all tickets for one number."""
    return f"{tickets}{number:08d}-"


def ticket_number(ticket: str) -> int | None:
    """The number that a ticket is for; `None` of any other object."""
    match = _TICKET.search(ticket)
    return None if match is None else int(match["number"])


def version_in(folder: str) -> int | None:
    """The version that a folder of a model has; `None` of any other folder."""
    return int(folder) if _VERSION.fullmatch(folder) else None


def model_calibration(sha256: str, where: str) -> str:
    """The rows of an artifact's calls on one engine and kind of machine."""
    return f"{_CALIBRATIONS_PREFIX}{sha256}/{hashlib.sha256(where.encode()).hexdigest()[:16]}.json"


def probe() -> str:
    """A throwaway object that probes the store."""
    return f"{_PROBE_PREFIX}{uuid.uuid4().hex}"


def conditions(endpoint: str) -> str:
    """Whether the store honours conditions, as found through one endpoint."""
    return f"{_CONDITIONS_PREFIX}{hashlib.sha256(endpoint.encode()).hexdigest()[:16]}.json"


@dataclass(frozen=True, slots=True)
class JobKeys:
    """The keys of one job."""

    job_id: str

    @property
    def prefix(self) -> str:
        """Prefix of all objects of the job."""
        return f"{JOBS_PREFIX}{self.job_id}/"

    @property
    def input_prefixes(self) -> tuple[str, ...]:
        """Prefixes of what its shards read: inputs, indexes and item ids."""
        return tuple(f"{self.prefix}{part}/" for part in ("input", "index", "ids"))

    @property
    def manifest(self) -> str:
        """The immutable description; the job exists as soon as this object does."""
        return f"{self.prefix}manifest.json"

    def input(self, shard: int, sha256: str, suffix: str = "npy") -> str:
        """A shard's input; the digest keeps two submitters of one id from mixing their bytes."""
        return f"{self.prefix}input/{shard:08d}-{sha256[:16]}.{suffix}"

    def index(self, shard: int, sha256: str) -> str:
        """Where the files of a shard are in its archive."""
        return f"{self.prefix}index/{shard:08d}-{sha256[:16]}.json"

    def item_ids(self, shard: int, sha256: str) -> str:
        """The caller's ids of a shard's items."""
        return f"{self.prefix}ids/{shard:08d}-{sha256[:16]}.json"

    def data(self, shard: int, attempt: str, suffix: str = "npy") -> str:
        """The results of one attempt; never overwritten."""
        return f"{self.prefix}data/{shard:08d}/{attempt}.{suffix}"

    def results_prefix(self, suffix: str) -> str:
        """Prefix of the results as files with rows, which somebody asked for."""
        return f"{self.prefix}results/{suffix}/"

    def results(self, shard: int, suffix: str) -> str:
        """The results of a shard as such a file."""
        return f"{self.results_prefix(suffix)}{shard:08d}.{suffix}"

    @property
    def outcomes_prefix(self) -> str:
        """Prefix of all outcomes."""
        return f"{self.prefix}outcome/"

    def outcome_blocks(
        self, shard_count: int | None, *, known: AbstractSet[int] = frozenset()
    ) -> list[str]:
        """The prefixes of the outcomes of `shard_count` shards, at most one page each.

        Those of which all shards are `known` are left out.
        """
        if shard_count is None:
            return [self.outcomes_prefix]
        firsts = range(0, shard_count, _BLOCK_SHARDS)
        return [
            self._outcome_block(first)
            for first in firsts
            if not known >= set(range(first, min(first + _BLOCK_SHARDS, shard_count)))
        ]

    def _outcome_block(self, shard: int) -> str:
        # A store on disk makes it a folder, and reads and sorts the whole folder for each page.
        return f"{self.outcomes_prefix}{shard // _BLOCK_SHARDS:05d}/"

    def outcome(self, shard: int) -> str:
        """The committed end of a shard."""
        return f"{self._outcome_block(shard)}{shard:08d}.json"

    @property
    def dead_prefix(self) -> str:
        """Prefix of dead ends of shards, on stores without conditional writes."""
        return f"{self.prefix}dead/"

    def dead(self, shard: int) -> str:
        """A shard's dead end on stores without conditional writes, where ok must beat dead."""
        return f"{self.dead_prefix}{shard:08d}.json"

    def isolated_prefix(self, shard: int) -> str:
        """Prefix of a shard's attempts in processes of their own."""
        return f"{self.prefix}isolated/{shard:08d}/"

    def isolated(self, shard: int, attempt: str) -> str:
        """Says that the attempt began in a process of its own."""
        return f"{self.isolated_prefix(shard)}{attempt}"

    @property
    def control(self) -> str:
        """A request to cancel."""
        return f"{self.prefix}control.json"

    @property
    def final(self) -> str:
        """The end of the job."""
        return f"{self.prefix}final.json"


def inline_input(shard: int, sha256: str, suffix: str = "npy") -> str:
    """The name of an input that is inlined in the manifest, outside any job's prefix."""
    return f"inline/{shard:08d}-{sha256[:16]}.{suffix}"


def inline_item_ids(shard: int, sha256: str) -> str:
    """The name of item ids that are inlined in the manifest."""
    return f"inline/{shard:08d}-{sha256[:16]}.json"


def shard_of(outcome_key: str) -> int | None:
    """The shard that an outcome's or dead end's key belongs to; `None` of any other object."""
    match = _OUTCOME.search(outcome_key)
    return None if match is None else int(match["shard"])
