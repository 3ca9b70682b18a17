"""Open the object store that the settings name: the one place that knows which stores exist."""

from collections.abc import Iterator

from fornada.settings import Settings
from fornada.storage.interface import ObjectStore, StoreProperty
from fornada.storage.s3.store import S3ObjectStore


def open_store(settings: Settings) -> ObjectStore:
    """The store that the settings name; makes no contact yet.

    Raises:
        ConfigError: The endpoint is not a URL, or the region is not a name.
    """
    return S3ObjectStore.from_settings(settings)


def report_on_store(settings: Settings) -> Iterator[StoreProperty]:
    """What the store that the settings name can do, found by trying it.

    Raises:
        ConfigError, StoreError: The store cannot be reached, or refuses.
    """
    # Commands that only open a store need none of it.
    from fornada.storage.s3.report import store_report  # noqa: PLC0415 - as above

    return store_report(settings)
