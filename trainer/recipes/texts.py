"""The network of texts: words looked up and embedded, the mean of their vectors, a hidden layer."""

from typing import Any

import numpy as np

from fornada.errors import UsageError
from fornada.formats.items import Array
from model_store.engines.keras_setup import import_keras, import_tensorflow
from trainer.data.dataset import VOCABULARY_SIZE, Dataset
from trainer.recipes.networks import require_tensorflow

#: Share of the training texts that are read to their end, and the most words of one.
_WHOLE_TEXTS, _MIN_WORDS, _MAX_WORDS = 0.9, 8, 400
#: Texts that preprocessing sees at once.
_BATCH_TEXTS = 1024


def texts(dataset: Dataset, activation: str | None) -> Any:
    """Mean of the embedded words of a raw text, in lower case and without punctuation.

    The vocabulary is that of the training texts, and so is the number of words that are read. No
    mask: the mean over the words of an empty text would be NaN.

    Raises:
        UsageError: Items are not texts, or Keras does not run on TensorFlow.
    """
    require_tensorflow("texts")
    if dataset.item_dtype != "string" or dataset.item_shape:
        raise UsageError(
            f"the network texts takes texts (string []), and the items of {dataset.name} are "
            f"{dataset.item_dtype} {list(dataset.item_shape)}; choose another recipe"
        )
    items, _ = dataset.splits["train"]
    keras, tensorflow = import_keras(), import_tensorflow()
    layers = keras.layers
    words = layers.TextVectorization(
        max_tokens=VOCABULARY_SIZE, output_sequence_length=_word_count(items), name="words"
    )
    words.adapt(tensorflow.data.Dataset.from_tensor_slices(items).batch(_BATCH_TEXTS))
    text = keras.Input((), dtype="string", name="text")
    embedded = layers.Embedding(VOCABULARY_SIZE, 64, name="embedding")(words(text))
    mean = layers.GlobalAveragePooling1D(name="mean")(embedded)
    hidden = layers.Dense(64, activation="relu", name="hidden")(mean)
    kept = layers.Dropout(0.3, name="dropout")(hidden)
    outputs = layers.Dense(dataset.output_count, activation=activation, name="probabilities")(kept)
    return keras.Model(text, outputs, name="texts")


def _word_count(items: Array) -> int:
    """The words of a text that are read: fewer where most are short, since the mean takes all."""
    counts = [len(text.split()) for text in items.tolist()]
    return int(np.clip(np.quantile(counts, _WHOLE_TEXTS), _MIN_WORDS, _MAX_WORDS))
