import keras
import numpy as np
import pytest

SIZE, CELLS = 32, 8


@pytest.fixture(scope="session")
def bright_spot_model():
    """A classifier whose true map is known: the mean gray values of 8 x 8 places, each / 200, add to logit + 5."""
    pixels = keras.Input((SIZE, SIZE, 1), name="pixels")
    means = keras.layers.AveragePooling2D(SIZE // CELLS, name="block_means")(pixels)
    features = keras.layers.Conv2D(2, 1, use_bias=False, name="block_conv")(means)
    pooled = keras.layers.GlobalAveragePooling2D(name="head_pool")(features)
    scores = keras.layers.Dense(1, activation="sigmoid", name="head_probability")(pooled)
    model = keras.Model(pixels, scores, name="bright_spot")
    model.get_layer("block_conv").set_weights([np.array([[[[1.0, 0.5]]]])])
    # For each place and gray value (0.384 * 1 - 0.128 * 0.5) / 64 places = 1 / 200.
    model.get_layer("head_probability").set_weights([np.array([[0.384], [-0.128]]), np.array([-5.0])])
    return model


@pytest.fixture(scope="session")
def spots():
    """Dark images with a bright square at a place of its own, and where it is: rows and columns of the 8 x 8 places."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 4, (6, SIZE, SIZE, 1)).astype(np.float32)
    places = [(0, 0), (7, 7), (2, 5), (5, 2), (3, 3), (6, 0)]
    for image, (row, column) in zip(images, places, strict=True):
        image[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = 90
    return images, places
