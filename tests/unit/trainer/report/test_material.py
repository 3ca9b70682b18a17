"""The layers of real Keras models, as rows of a table."""

from model_store.engines.keras_setup import import_keras
from trainer.report.material import LayerRow, layer_rows


def test_layers_are_listed_in_order_without_the_input() -> None:
    keras = import_keras()
    model = keras.Sequential(
        [
            keras.Input((8, 8), dtype="uint8"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(3, name="probabilities"),
        ]
    )

    expected = [
        LayerRow(name="flatten", kind="Flatten", output_shape=(64,), parameter_count=0),
        LayerRow(name="probabilities", kind="Dense", output_shape=(3,), parameter_count=195),
    ]
    assert expected == layer_rows(model)


def test_a_layer_without_a_fixed_output_is_listed() -> None:
    keras = import_keras()
    items = keras.Input((None, 4))
    dense = keras.layers.Dense(4)
    pair = keras.Model(items, [dense(items), items], name="pair")
    model = keras.Model(items, keras.layers.Add(name="sum")(pair(items)))

    rows = {row.name: row for row in layer_rows(model)}

    assert ["pair", "sum"] == list(rows)
    assert rows["pair"].output_shape is None
    assert 20 == rows["pair"].parameter_count
    assert (None, 4) == rows["sum"].output_shape
