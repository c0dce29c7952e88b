"""Imports the package that Bazel assembled and runs its op. BUILD calls it, in that folder."""

import pathlib

import tensorflow as tf

import tf_stn
from tf_stn import _build_info, _library, _xla

if __name__ == "__main__":
    # Not a copy that happens to be installed.
    assert _library.LIBRARY.is_relative_to(pathlib.Path.cwd()), _library.LIBRARY
    image = tf.reshape([0.0, 10.0, 20.0, 30.0], [1, 2, 2, 1])
    samples = tf_stn.resampler(image, tf.constant([[[0.5, 0.0], [1.0, 0.5]]]))
    assert samples[0, :, 0].numpy().tolist() == [5.0, 20.0], samples
    minor = tuple(map(int, _build_info.TENSORFLOW.split(".")))
    assert _xla.can_compile() == (minor >= (2, 20))
