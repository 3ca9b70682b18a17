"""Open the object store that the settings name: the one place that knows which stores exist."""

from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.s3.store import S3ObjectStore


def open_store(settings: Settings) -> ObjectStore:
    """The store that the settings name; makes no contact yet.

    Raises:
        ConfigError: The endpoint is not a URL, or the region is not a name.
    """
    return S3ObjectStore.from_settings(settings)
