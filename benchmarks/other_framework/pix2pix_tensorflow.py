"""The paper's whole step in TensorFlow, the original project's stack: U-Net 256, 70×70 PatchGAN, batch 1.

    PYTHON_WITH_TENSORFLOW benchmarks/other_framework/pix2pix_tensorflow.py THREADS STEPS

Run by benchmarks/training.py in a Python of its own. The networks and the step are those of
TensorFlow's pix2pix tutorial (arXiv 1611.07004): fp32, Adam, L1 weight 100. Prints images/s as JSON.
"""

import json
import statistics
import sys
import time
from typing import Any

import tensorflow as tf

_SIDE_PX = 256
_L1_WEIGHT = 100.0


def main() -> None:
    """Times the step after two that compile and warm it."""
    threads, steps = (int(word) for word in sys.argv[1:3])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    step = make_step()
    shown, target = (tf.random.uniform((1, _SIDE_PX, _SIDE_PX, 3), -1, 1) for _ in range(2))
    taken = []
    for _ in range(2 + steps):
        began = time.perf_counter()
        float(step(shown, target))
        taken.append(time.perf_counter() - began)
    print(json.dumps({"images_per_s": 1 / statistics.median(taken[2:]), "version": tf.__version__}))


def make_step() -> Any:
    """The generator's and the discriminator's update as one compiled function of two pictures."""
    generator, discriminator = make_generator(), make_discriminator()
    optimizers = [tf.keras.optimizers.Adam(2e-4, beta_1=0.5) for _ in range(2)]
    bce = tf.keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function  # type: ignore[untyped-decorator]
    def step(shown: Any, target: Any) -> Any:
        with tf.GradientTape() as generators_tape, tf.GradientTape() as discriminators_tape:
            drawn = generator(shown, training=True)
            real = discriminator([shown, target], training=True)
            fake = discriminator([shown, drawn], training=True)
            fools = bce(tf.ones_like(fake), fake) + _L1_WEIGHT * tf.reduce_mean(tf.abs(target - drawn))
            tells = bce(tf.ones_like(real), real) + bce(tf.zeros_like(fake), fake)
        for tape, loss, network, optimizer in (
            (generators_tape, fools, generator, optimizers[0]),
            (discriminators_tape, tells, discriminator, optimizers[1]),
        ):
            weights = network.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return fools

    return step


def make_generator() -> Any:
    """U-Net 256: eight levels down and up with skips, 54.4M parameters."""
    layers = tf.keras.layers
    x = image = layers.Input((_SIDE_PX, _SIDE_PX, 3))
    skips = []
    for level, width in enumerate((64, 128, 256, 512, 512, 512, 512, 512)):
        x = layers.Conv2D(width, 4, 2, "same", use_bias=False)(x)
        x = layers.BatchNormalization()(x) if level else x
        x = layers.LeakyReLU(0.2)(x)
        skips.append(x)
    skips.pop()
    for depth, width in enumerate((512, 512, 512, 512, 256, 128, 64)):
        x = layers.Conv2DTranspose(width, 4, 2, "same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(0.5)(x) if depth < 3 else x
        x = layers.Concatenate()([layers.ReLU()(x), skips.pop()])
    drawn = layers.Conv2DTranspose(3, 4, 2, "same", activation="tanh")(x)
    return tf.keras.Model(image, drawn)


def make_discriminator() -> Any:
    """C64-C128-C256-C512 and a logit a patch of 70×70."""
    layers = tf.keras.layers
    pictures = [layers.Input((_SIDE_PX, _SIDE_PX, 3)) for _ in range(2)]
    x = layers.Concatenate()(pictures)
    for width, stride in ((64, 2), (128, 2), (256, 2), (512, 1)):
        x = layers.Conv2D(width, 4, 2, "same", use_bias=False)(x) if stride == 2 else _valid(x, width)
        x = layers.BatchNormalization()(x) if width > 64 else x
        x = layers.LeakyReLU(0.2)(x)
    return tf.keras.Model(pictures, _valid(x, 1))


def _valid(x: Any, width: int) -> Any:
    """4×4, stride 1, one pixel of padding, as in the paper."""
    layers = tf.keras.layers
    return layers.Conv2D(width, 4, 1, "valid")(layers.ZeroPadding2D()(x))


if __name__ == "__main__":
    main()
