"""Keras, imported once for all tests of publishing."""

from typing import Any

import pytest

from model_store.engines import keras_setup


@pytest.fixture(scope="session")
def keras() -> Any:
    """The `keras` module on TensorFlow."""
    return keras_setup.import_keras()
