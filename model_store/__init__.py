"""Models by version and alias; an object store is all they need.

For training scripts, which have Keras: `publish` and the callback `PublishModel`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_store.publishing.callback import PublishModel
    from model_store.publishing.script import publish

__all__ = ["PublishModel", "publish"]


def __getattr__(name: str) -> Any:
    """Import what needs Keras when it is used, since most of this package does not."""
    modules = {"PublishModel": "callback", "publish": "script"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.publishing.{modules[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
