"""Tensors and data sets of the frameworks go in as their users have them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fornada.errors import InputError
from fornada.tensors import InputTensor
from producer.testing import in_memory_client

BYTES = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
FLOATS = np.arange(6, dtype=np.float32).reshape(2, 3)
SUMS, FLOAT_SUMS = [6.0, 22.0, 38.0], [3.0, 12.0]


def results_of(inputs: Any, shape: list[int | None], dtype: str) -> Any:
    client = in_memory_client(
        model="m",
        item_shape=shape,
        item_dtype=dtype,
        classes=["sum"],
        predict=lambda rows: rows.reshape(len(rows), -1).sum(1, np.float32, keepdims=True),
    )
    return client.submit(inputs, model="m").results()


def image_sums(inputs: Any) -> list[float]:
    return results_of(inputs, [2, 2], "uint8").probabilities[:, 0].tolist()


def vector_sums(inputs: Any) -> list[float]:
    return results_of(inputs, [3], "float32").probabilities[:, 0].tolist()


def test_tensors_of_tensorflow_and_keras_go_in() -> None:
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("keras")

    for tensor in (tf.constant(FLOATS), tf.Variable(FLOATS), keras.Variable(FLOATS)):
        assert FLOAT_SUMS == vector_sums(tensor)
    assert FLOAT_SUMS == vector_sums(tf.cast(FLOATS, tf.bfloat16))
    ragged = tf.ragged.constant([[1, 2, 3], [4]])
    assert [6.0, 4.0] == results_of(ragged, [None], "int32").probabilities[:, 0].tolist()
    for tensor, why in (
        (keras.Input((3,)), "KerasTensor, which gives no array"),
        (tf.constant([["a", "b", "c"]]), "not numeric"),
        (tf.sparse.from_dense(FLOATS), "SparseTensor"),
        (ragged, r"inputs\[1\]: an item of shape \(1,\)"),
    ):
        with pytest.raises(InputError, match=why):
            vector_sums(tensor)


def test_data_sets_of_mappings_go_in() -> None:
    tf = pytest.importorskip("tensorflow")
    takes = [
        InputTensor(name="photo", dtype="uint8", shape=[2, 2]),
        InputTensor(name="text", dtype="string", shape=[]),
    ]
    given = {"photo": BYTES, "text": ["a", "é", ""]}
    client = in_memory_client(
        model="m",
        inputs=takes,
        predict=lambda items: {
            "sum": items["photo"].sum((1, 2), np.int64),
            "length": np.array([len(text) for text in items["text"]]),
        },
    )
    for data_set in (
        tf.data.Dataset.from_tensor_slices(given),
        tf.data.Dataset.from_tensor_slices((given, np.arange(3))).batch(2),
    ):
        outputs = client.submit(data_set, model="m").results().outputs
        assert ([6, 22, 38], [1, 2, 0]) == (outputs["sum"].tolist(), outputs["length"].tolist())
    nameless = tf.data.Dataset.from_tensor_slices((BYTES, given["text"]))
    with pytest.raises(InputError, match=r"inputs\[0\] is tuple, .*; give a mapping"):
        client.submit(nameless, model="m")


def test_data_sets_of_tensorflow_and_keras_go_in() -> None:
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("keras")
    labels, weights = np.arange(3), np.ones(3)

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            return BYTES[index : index + 1], labels[index : index + 1]

    of = tf.data.Dataset.from_tensor_slices
    for dataset in (
        of(BYTES),
        of(BYTES).batch(2),
        of((BYTES, labels)),
        of((BYTES, labels, weights)).batch(2),
        of(({"inputs": BYTES}, labels)).batch(2),
        of({"inputs": BYTES, "label": labels}),
        Batches(),
    ):
        assert SUMS == image_sums(dataset)
    # As an autoencoder is trained.
    assert FLOAT_SUMS == vector_sums(of((FLOATS, FLOATS)).batch(2))
    with pytest.raises(InputError, match="repeats without an end"):
        image_sums(of(BYTES).repeat())
    for dataset in (of((["a", "b", "c"], BYTES)), of((["a", "b", "c"], BYTES)).batch(2)):
        results = results_of(dataset, [2, 2], "uint8")
        assert (["a", "b", "c"], SUMS) == (
            results.item_ids,
            results.probabilities[:, 0].tolist(),
        )


def test_tensors_and_data_loaders_of_torch_go_in() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(FLOATS)
    pairs = torch.utils.data.TensorDataset(torch.tensor(BYTES), torch.arange(3))

    def loader(dataset: Any, **options: Any) -> Any:
        return torch.utils.data.DataLoader(dataset, batch_size=2, **options)

    vectors: list[Callable[[], Any]] = [
        lambda: tensor,
        lambda: tensor.clone().requires_grad_(),
        tensor.bfloat16,
        lambda: list(tensor),
        lambda: loader(torch.utils.data.TensorDataset(tensor, tensor)),
        lambda: loader([{"inputs": row, "label": 1} for row in tensor]),
        lambda: loader(list(tensor), collate_fn=list),
    ]
    assert [FLOAT_SUMS] * len(vectors) == [vector_sums(make()) for make in vectors]
    assert [SUMS] * 2 == [image_sums(pairs), image_sums(loader(pairs))]
    with pytest.raises(InputError, match=r"\(inputs, labels\) as a tuple"):
        image_sums(batch for batch in loader(pairs))
    with pytest.raises(InputError, match="Tensor, which gives no array"):
        vector_sums(tensor.to_sparse())
