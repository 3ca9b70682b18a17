"""Resolve model names to versions without reading again what never changes."""

import threading
import time
from collections import OrderedDict

from fornada.errors import FornadaError
from model_store.manifest import ModelManifest, ModelRef
from model_store.store import ModelStore

_KEPT_VERSIONS = 256
#: Ways to write models that are remembered.
_KNOWN_NAMES = 1024
#: How long a direct call may use an alias that has moved, and from when on it is looked up again.
_ALIAS_FOR_S = 5.0
_RENEWED_AFTER_S = 2.5


class Resolver:
    """Resolves models and keeps the manifests of versions. Safe to share between threads.

    A version never changes, so it is read once. Names and aliases are looked up each time, so the
    next submission follows a promotion.
    """

    def __init__(self, *, models: ModelStore) -> None:
        self._models = models
        self._kept: OrderedDict[tuple[str, int], ModelManifest] = OrderedDict()
        self._lock = threading.Lock()

    def resolve(self, ref: ModelRef) -> ModelManifest:
        """The version that `ref` means now; a bare name means the newest version.

        Raises:
            ModelNotFoundError: No such model, version or alias; lists those that exist.
        """
        version = self._models.version_of(ref)
        with self._lock:
            manifest = self._kept.get((ref.name, version))
        if manifest is None:
            # As the caller named it, for the error message.
            found = ref if ref.version else ModelRef(name=ref.name, version=version)
            manifest = self._models.resolve(found)
        with self._lock:
            self._kept[ref.name, version] = manifest
            self._kept.move_to_end((ref.name, version))
            while len(self._kept) > _KEPT_VERSIONS:
                self._kept.popitem(last=False)
        return manifest


class RecentModels:
    """Models as they were a moment ago, for calls that must not cost a store request.

    They are looked up again before they are too old, by one caller; the others go on meanwhile.
    """

    def __init__(self, *, resolver: Resolver) -> None:
        self._resolver = resolver
        #: With the time of the look.
        self._known: dict[str, tuple[ModelManifest, float]] = {}
        self._lock = threading.Lock()
        self._renewed: set[str] = set()

    def resolve(self, model: str) -> ModelManifest:
        """What `model` meant within the last five seconds.

        Raises:
            ModelNotFoundError: No such model, version or alias; lists those that exist.
        """
        known = self.known(model)
        if known is not None and not self.begin_renewal(model):
            return known
        try:
            return self.renew(model)
        except FornadaError:
            if known is None:
                raise
            return known

    def known(self, model: str) -> ModelManifest | None:
        """The same without a request; `None` if that takes one."""
        manifest, looked_s = self._known.get(model, (None, 0.0))
        return None if time.monotonic() > looked_s + _ALIAS_FOR_S else manifest

    def begin_renewal(self, model: str) -> bool:
        """Whether the caller is the one to `renew` what is known of `model`, and soon too old."""
        _, looked_s = self._known.get(model, (None, 0.0))
        if time.monotonic() <= looked_s + _RENEWED_AFTER_S:
            return False
        with self._lock:
            is_first = model not in self._renewed
            self._renewed.add(model)
        return is_first

    def renew(self, model: str) -> ModelManifest:
        """What `model` means now.

        Raises:
            ModelNotFoundError: As `resolve`.
        """
        try:
            looked_s = time.monotonic()
            manifest = self._resolver.resolve(ModelRef.parse(model))
            if len(self._known) >= _KNOWN_NAMES:
                # `m:1`, `m:01`, `m:001`, …
                self._known.clear()
            self._known[model] = (manifest, looked_s)
            return manifest
        finally:
            with self._lock:
                self._renewed.discard(model)
