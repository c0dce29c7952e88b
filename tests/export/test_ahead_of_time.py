"""XLA's compiler that makes an object file of a saved model, which runs without TensorFlow."""

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.tools import saved_model_aot_compile, saved_model_utils

import tf_stn


@pytest.fixture
def compile_ahead(tmp_path):
    """Saves the affine resampler of images of 6x7 pixels, and compiles that ahead of time."""

    def saved_graph() -> meta_graph_pb2.MetaGraphDef:
        sampler = tf.Module()
        sampler.sample = tf.function(
            lambda images, theta: tf_stn.affine_resampler(images, theta),
            input_signature=[tf.TensorSpec([2, 6, 7, 3]), tf.TensorSpec([2, 6])],
        )
        tf.saved_model.save(sampler, str(tmp_path / "model"), signatures=sampler.sample)
        return saved_model_utils.get_meta_graph_def(str(tmp_path / "model"), "serve")

    def run():
        saved_model_aot_compile.aot_compile_cpu_meta_graph_def(
            checkpoint_path=str(tmp_path / "model/variables/variables"),
            meta_graph_def=saved_graph(),
            output_prefix=str(tmp_path / "sampler"),
            signature_def_key="serving_default",
            cpp_class="Sampler",
            target_triple="x86_64-pc-linux",
            target_cpu="",
            variables_to_feed=(),
        )
        return (tmp_path / "sampler.o").read_bytes(), (tmp_path / "sampler.h").read_text()

    return run


def test_portable_model_is_compiled_ahead_of_time(compile_ahead):
    with tf_stn.portable():
        code, header = compile_ahead()
    assert code.startswith(b"\x7fELF")
    assert "class Sampler" in header


def test_compiled_ops_are_refused_ahead_of_time(compile_ahead):
    with pytest.raises(Exception, match="custom-call"):
        compile_ahead()
