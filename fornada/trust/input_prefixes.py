"""Where jobs may read inputs that Fornada did not store: prefixes that the operator names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from fornada import keys
from fornada.errors import ConfigError
from fornada.settings import Settings
from fornada.trust.object_names import bucket_flaw, key_flaw

_ADDRESS = re.compile(r"s3://(?P<bucket>[^/]*)(?:/(?P<key>.*))?", re.DOTALL)
_SETTING = "FORNADA_INPUT_PREFIXES"


@dataclass(frozen=True, slots=True)
class InputPrefix:
    """A folder of a bucket, with all below it, or one object."""

    bucket: str
    #: Ends in `/` for a folder. Without it, the object of that name, and all below a folder of that
    #: name, but not other names that begin so. Empty for the whole bucket.
    key: str

    @property
    def folder(self) -> str:
        """What the keys below it begin with."""
        return self.key if self.key.endswith("/") or not self.key else f"{self.key}/"

    def holds(self, key: str) -> bool:
        """Whether it is the object `key`, or has it below it."""
        return key == self.key or key.startswith(self.folder)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, kw_only=True, slots=True)
class InputPrefixes:
    """The prefixes that a deployment's jobs may read, less what Fornada itself writes."""

    own_bucket: str
    prefixes: tuple[InputPrefix, ...]

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The prefixes in `settings`; by default `inputs/` of the deployment's bucket.

        Raises:
            ConfigError: One is no `s3://bucket/prefix`, or is where Fornada itself writes.
        """
        own_bucket = settings.s3_bucket
        text = settings.input_prefixes
        if text is None:
            default = InputPrefix(own_bucket, keys.INPUTS_PREFIX)
            return cls(own_bucket=own_bucket, prefixes=(default,))
        prefixes = tuple(parse_prefix(part.strip(), where=_SETTING) for part in text.split(","))
        for prefix in prefixes:
            if prefix.bucket == own_bucket and _is_own(prefix.folder):
                raise ConfigError(
                    f"{_SETTING} has {prefix}, where Fornada keeps jobs and models, which no job "
                    f"reads as input; name another folder, such as s3://{own_bucket}/inputs/"
                )
        return cls(own_bucket=own_bucket, prefixes=prefixes)

    def narrowed(self, addresses: Iterable[str]) -> Self:
        """Those of these prefixes, or parts of them, that are within `addresses`, `s3://…` each."""
        given = [parse_prefix(address, where="a key") for address in addresses]
        within = [one for one in given if self._hold(one)]
        within += [one for one in self.prefixes if any(_is_within(one, other) for other in given)]
        return replace(self, prefixes=tuple(dict.fromkeys(within)))

    def _hold(self, prefix: InputPrefix) -> bool:
        return any(_is_within(prefix, known) for known in self.prefixes)

    def allow(self, key: str, bucket: str | None) -> bool:
        """Whether a job may read an object; `bucket` is `None` for the deployment's own."""
        bucket = self.own_bucket if bucket is None else bucket
        if key_flaw(key) is not None or (bucket == self.own_bucket and _is_own(key)):
            return False
        return any(prefix.bucket == bucket and prefix.holds(key) for prefix in self.prefixes)

    def meet(self, prefix: str, bucket: str) -> bool:
        """Whether some key that begins with `prefix` may be read."""
        if bucket == self.own_bucket and _is_own(prefix):
            return False
        return any(
            known.bucket == bucket and (known.holds(prefix) or known.key.startswith(prefix))
            for known in self.prefixes
        )

    def __str__(self) -> str:
        return ", ".join(map(str, self.prefixes))


def _is_own(key: str) -> bool:
    """Whether Fornada itself writes what is under this key, or below it, in its bucket."""
    # Some servers and proxies take repeated slashes for one.
    single = re.sub("/+", "/", key) if "//" in key else key
    return single.removeprefix("/").startswith(keys.OWN_PREFIXES)


def _is_within(prefix: InputPrefix, other: InputPrefix) -> bool:
    return prefix.bucket == other.bucket and other.holds(prefix.key)


def parse_prefix(text: str, *, where: str) -> InputPrefix:
    """The prefix that `text`, `s3://bucket/prefix`, names.

    Raises:
        ConfigError: It names none; `where` is what has it.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or not match["bucket"]:
        raise ConfigError(
            f"{where} has {text!r}; write s3://bucket/prefix, several with commas between"
        )
    bucket, key = match["bucket"], match["key"]
    flaw = bucket_flaw(bucket)
    if flaw is not None:
        raise ConfigError(f"{where} has {text!r}: {flaw}")
    if key is None:
        raise ConfigError(
            f"{where} has {text!r}, which names no folder; write s3://{bucket}/ for the whole "
            f"bucket, or s3://{bucket}/folder/"
        )
    flaw = key_flaw(key) if key else None
    if flaw is not None:
        raise ConfigError(f"{where} has {text!r}, and no job can read such keys: {flaw}")
    return InputPrefix(bucket, key)
