"""What one eager call from Python costs, on an image that takes no time by itself."""

import numpy as np
import tensorflow as tf

import tf_stn
from peers.peer import Peer, Step
from tf_stn._library import ops


class OneCall(Peer):
    """The same samples by the function, by the op below it, and by one of TensorFlow's own."""

    def versions(self) -> dict[str, str]:
        return {"tf-stn": tf_stn.__version__, "tensorflow": tf.__version__}

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        data, warp = tf.constant(inputs["data"]), tf.constant(inputs["warp"])
        height, width = inputs["data"].shape[1:3]
        shape = tf.constant([height, width])
        fill_value = tf.constant(0.0)
        # From pixels of the output to pixels of the image, as the affine warp's own steps say.
        x0, y0 = inputs["warp"][0, 0, 0]
        by_column = inputs["warp"][0, 0, 1] - inputs["warp"][0, 0, 0]
        by_row = inputs["warp"][0, 1, 0] - inputs["warp"][0, 0, 0]
        transforms = tf.constant(
            [[by_column[0], by_row[0], x0, by_column[1], by_row[1], y0, 0, 0]], tf.float32
        )

        return {
            "tf_stn.resampler": lambda: {"output": tf_stn.resampler(data, warp)},
            "raw op": lambda: {"output": ops.tf_stn_resampler(data, warp, [])},
            "ImageProjectiveTransformV3": lambda: {
                "output": tf.raw_ops.ImageProjectiveTransformV3(
                    images=data,
                    transforms=transforms,
                    output_shape=shape,
                    fill_value=fill_value,
                    interpolation="BILINEAR",
                    fill_mode="CONSTANT",
                )
            },
        }
