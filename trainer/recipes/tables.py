"""The network of tables: `keras.utils.FeatureSpace` over raw columns, and two hidden layers."""

from collections.abc import Collection, Mapping
from typing import Any

from fornada.errors import UsageError
from model_store.engines.keras_setup import import_keras, import_tensorflow
from trainer.data.dataset import Dataset
from trainer.recipes.networks import require_tensorflow

#: Texts of a column with a value of their own, the most frequent; the others share one.
_MOST_TEXTS = 1000
#: Rows that preprocessing sees at once.
_BATCH_ROWS = 1024


def table(dataset: Dataset, activation: str | None) -> Any:
    """Two hidden layers over columns: numbers are standardised, texts looked up.

    Mean, variance and vocabulary of each column are those of the training rows, and so are mean and
    deviation of values. The model takes each column by its name, raw.

    Raises:
        UsageError: Items are not the columns of a table, or Keras does not run on TensorFlow.
    """
    require_tensorflow("table")
    columns = dataset.train_items
    if not isinstance(columns, Mapping):
        raise UsageError(
            f"the network table takes the columns of a table, and the items of {dataset.name} are "
            f"{dataset.item_dtype} {list(dataset.item_shape)}; choose another recipe"
        )
    keras, tensorflow = import_keras(), import_tensorflow()
    layers, space = keras.layers, keras.utils.FeatureSpace
    features = space(
        {
            name: space.string_categorical(max_tokens=_MOST_TEXTS)
            if array.dtype.hasobject
            else space.float_normalized()
            for name, array in columns.items()
        },
        output_mode="concat",
    )
    rows = tensorflow.data.Dataset.from_tensor_slices(dict(columns)).batch(_BATCH_ROWS)
    features.adapt(rows)
    found = features.get_encoded_features()
    for number in (1, 2):
        hidden = layers.Dense(64, activation="relu", name=_free(f"hidden{number}", columns))
        found = hidden(found)
    if dataset.kind == "values":
        # So that salaries are learned in as few epochs as shares.
        targets = dataset.train_targets
        found = layers.Dense(dataset.output_count, name=_free("scaled", columns))(found)
        outputs = layers.Rescaling(
            float(targets.std()) or 1.0, offset=float(targets.mean()), name=_free("values", columns)
        )
    else:
        name = _free("probabilities", columns)
        outputs = layers.Dense(dataset.output_count, activation=activation, name=name)
    # A plain dict, as Keras is given one: it takes its own for another structure.
    return keras.Model(dict(features.get_inputs()), outputs(found), name="table")


def _free(name: str, taken: Collection[str]) -> str:
    """`name`, made another one than the columns have: theirs are names of layers too."""
    while name in taken:
        name += "_"
    return name
