"""Open the object store that the settings name: the one place that knows which stores exist."""

from collections.abc import Iterator

from fornada.settings import Settings
from fornada.storage.interface import ObjectStore, StoreProperty
from fornada.storage.s3.limits import Limits
from fornada.storage.s3.store import S3ObjectStore

#: A call fails within 9 s: three tries, and short waits between.
_SOON = Limits(attempts=2, connect_timeout_s=2.5, read_timeout_s=2.5, waits_s=(0.1,))


def open_store(settings: Settings, *, fails_soon: bool = False) -> ObjectStore:
    """The store that the settings name; makes no contact yet.

    Args:
        settings: Its address and credentials.
        fails_soon: Give up on a silent store within 9 s, not 75 s.

    Raises:
        ConfigError: The endpoint is not a URL, or the region is not a name.
    """
    return S3ObjectStore.from_settings(settings, limits=_SOON if fails_soon else None)


def report_on_store(settings: Settings) -> Iterator[StoreProperty]:
    """What the store that the settings name can do, found by trying it.

    Raises:
        ConfigError, StoreError: The store cannot be reached, or refuses.
    """
    # Commands that only open a store need none of it.
    from fornada.storage.s3.report import store_report  # noqa: PLC0415 - as above

    return store_report(settings)
