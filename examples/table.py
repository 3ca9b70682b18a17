"""A table of patients: train on its columns, publish, and score a Parquet file beside its keys."""

# %%
from pathlib import Path

import tensorflow as tf
from sklearn.datasets import load_diabetes
from tensorflow import keras

import model_store
from producer import Client

# %% Measurements of 442 patients, and how far their diabetes went in a year
patients = load_diabetes(as_frame=True, scaled=False).frame
patients["patient"] = [f"P-{number:03}" for number in range(len(patients))]
patients["sex"] = patients["sex"].map({1.0: "one", 2.0: "two"})
train, held_out = patients[:350], patients[350:]

# %% A FeatureSpace says what each column is; it becomes a part of the model
space = keras.utils.FeatureSpace(
    {
        "sex": keras.utils.FeatureSpace.string_categorical(),
        "age": keras.utils.FeatureSpace.float_normalized(),
        "bmi": keras.utils.FeatureSpace.float_normalized(),
        "bp": keras.utils.FeatureSpace.float_normalized(),
        "s5": keras.utils.FeatureSpace.float_normalized(),
    }
)
columns = {name: train[name].to_numpy() for name in sorted(space.features)}
space.adapt(tf.data.Dataset.from_tensor_slices(columns))
hidden = keras.layers.Dense(16, activation="relu")(space.get_encoded_features())
model = keras.Model(space.get_inputs(), keras.layers.Dense(1, name="progress")(hidden))
model.compile(keras.optimizers.Adam(0.03), "mse", metrics=["mae"])
dataset = tf.data.Dataset.from_tensor_slices((columns, train["target"])).batch(32)
history = model.fit(dataset, epochs=60, shuffle=False, verbose=0)

# %% Publish it: each column is an input by its name
test = {name: held_out[name].to_numpy() for name in space.features}
manifest = model_store.publish(
    model,
    name="diabetes",
    history=history,
    classes=["progress"],
    test=(test, held_out["target"].to_numpy()),
    promote="prod",
)
print(f"published {manifest}: wrong by {manifest.metrics['test_mae']:.0f} on average")

# %% Any service scores a file; this part needs no Keras
patients.to_parquet("patients.parquet")
job = Client.from_env().submit(Path("patients.parquet"), model="diabetes@prod", id_column="patient")
job.wait(timeout_s=600)
scored = patients.set_index("patient").join(job.results().to_pandas())
error = (scored["progress"] - scored["target"]).abs()[len(train) :].mean()
print(f"{len(scored)} patients scored, those held out wrong by {error:.0f} on average")
