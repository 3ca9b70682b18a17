"""Photographs in a folder per class: train on them, publish, and predict a folder of files."""

# %%
import sys
from pathlib import Path

import numpy as np
from tensorflow import keras

import model_store
from producer import Client

# One folder per class: photos/cat/IMG_0412.jpg, photos/dog/…
photos = Path(sys.argv[1] if len(sys.argv) > 1 else "photos")

# %% Keras reads, decodes and resizes the files
train, held_out = keras.utils.image_dataset_from_directory(
    photos, image_size=(160, 160), batch_size=8, validation_split=0.25, subset="both", seed=1
)
classes = train.class_names

# %% A network of keras.applications, with an input for pixels from 0 to 255
network = keras.applications.MobileNetV2(
    input_shape=(160, 160, 3),
    include_top=False,
    pooling="avg",
    # "imagenet" downloads weights that know what photographs look like, and learns far more of few.
    weights=None,
)
model = keras.Sequential(
    [
        keras.Input((160, 160, 3), name="photo"),
        keras.layers.Rescaling(1 / 127.5, offset=-1),
        network,
        keras.layers.Dense(len(classes), activation="softmax", name="class"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(train, validation_data=held_out, epochs=2, verbose=2)

# %% Publish it: workers decode and resize files as Keras did
batches = list(held_out.as_numpy_iterator())
images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
manifest = model_store.publish(
    model,
    name="photos",
    history=history,
    classes=classes,
    test=(images, labels),
    promote="prod",
)
print(f"published {manifest}: {manifest.input.image}")

# %% Any service sends files of any size; this part needs no Keras
job = Client.from_env().submit(photos, model="photos@prod")
job.wait(timeout_s=600)
results = job.results()
found = dict(zip(results.item_ids, results.labels, strict=True))
right = sum(Path(item_id).parts[0] == label for item_id, label in found.items())
print(f"{right} of {len(found)} photographs right, such as {next(iter(found.items()))}")
