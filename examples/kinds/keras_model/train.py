"""A small network in Keras; its settings are constants, and progress is the bar of `model.fit`."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np

LEARNING_RATE = 1e-3
HIDDEN_UNITS = 16
DROPOUT = 0.1
BATCH_SIZE = 32
EPOCHS = 4
SEED = 0

keras.utils.set_random_seed(SEED)
x = np.random.default_rng(0).normal(size=(600, 6)).astype("float32")
y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype("float32")
model = keras.Sequential(
    [
        keras.layers.Dense(HIDDEN_UNITS, activation="relu"),
        keras.layers.Dropout(DROPOUT),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="binary_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, validation_split=0.2, epochs=EPOCHS, batch_size=BATCH_SIZE)
print(f"val_accuracy: {history.history['val_accuracy'][-1]:.4f}")
