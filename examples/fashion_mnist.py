"""A first network, as a Keras course writes it; one more line publishes it, and workers predict."""

# %%
import numpy as np
import tensorflow as tf
from tensorflow import keras

import model_store
from producer import Client

# %% The course's script
(x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
x_train, x_test = x_train / 255.0, x_test / 255.0

model = keras.Sequential(
    [
        keras.layers.Flatten(input_shape=(28, 28)),
        keras.layers.Dense(256, activation=tf.nn.relu),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(10, activation=tf.nn.softmax),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
history = model.fit(x_train, y_train, epochs=5, validation_split=0.2, verbose=2)
predictions = model.predict(x_test, verbose=0)

# %% One line more: publish the model, with its History and a report on the test images
classes = "T-shirt,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot".split(",")
manifest = model_store.publish(
    model,
    name="fashion-mnist",
    history=history,
    classes=classes,
    test=(x_test, y_test),
    promote="prod",
)
print(f"published {manifest}: test accuracy {manifest.metrics['test_accuracy']:.3f}")

# %% Any service predicts with it as a job; this part needs no Keras
job = Client.from_env().submit(x_test, model="fashion-mnist@prod")
job.wait(timeout_s=300)
results = job.results()
difference = np.abs(results.probabilities - predictions).max()
print(
    f"{len(results.probabilities)} probabilities, all within 1e-5 of Keras's: {difference < 1e-5}"
)
