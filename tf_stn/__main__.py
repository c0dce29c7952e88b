"""Prints how this tf_stn was built and what it finds: `python -m tf_stn`."""

import collections

import tensorflow as tf
from tensorflow.python.framework import kernels  # There is no public way to list them.

import tf_stn
from tf_stn import _library, _xla
from tf_stn._resampler import coordinate_type

OPS = (
    "TfStn>Resampler",
    "TfStn>ResamplerGrad",
    "TfStn>ResamplerGradGrad",
    "TfStn>DisplacementResampler",
    "TfStn>DisplacementResamplerGrad",
    "TfStn>DisplacementResamplerGradGrad",
    "TfStn>AffineResampler",
    "TfStn>AffineResamplerGrad",
    "TfStn>ProjectiveResampler",
    "TfStn>ProjectiveResamplerGrad",
)


def registered_kernels(op: str) -> dict[str, list[str]]:
    """Returns the data types for which `op` has a kernel, by kind of device."""
    found = collections.defaultdict(set)
    for kernel in kernels.get_registered_kernels_for_op(op).kernel:
        if kernel.device_type.startswith("XLA_"):
            continue
        types = {c.name: tf.as_dtype(c.allowed_values.list.type[0]) for c in kernel.constraint}
        # For the other type of coordinates there is one that only says that it is wrong.
        data_type = types.pop("T")
        if list(types.values()) == [coordinate_type(data_type)]:
            found[kernel.device_type].add(data_type.name)
    return {device: sorted(types) for device, types in sorted(found.items())}


def print_build() -> None:
    """Prints how the compiled library was built, and what is in it."""
    from tf_stn import _build_info

    cuda = "no GPU kernels"
    if _build_info.CUDA:
        architectures = " ".join(f"sm_{number}" for number in _build_info.CUDA_ARCHITECTURES)
        cuda = f"CUDA {_build_info.CUDA}, for {architectures}"
    print(f"built for   TensorFlow {_build_info.TENSORFLOW}, {cuda}")
    print(f"library     {_library.LIBRARY}")
    print(f"CPU loops   {_library.cpu_isa()}")
    for op in OPS:
        for device, types in registered_kernels(op).items():
            print(f"{op:<35}  {device}  {' '.join(types)}")


def main() -> None:
    devices = [
        device.name.removeprefix("/physical_device:")
        for device in tf.config.list_physical_devices()
    ]
    print(f"tf-stn      {tf_stn.__version__}")
    print(f"TensorFlow  {tf.__version__}, sees {', '.join(devices)}")
    print(f"XLA         {'can' if _xla.can_compile() else 'cannot'} compile what samples")
    if _library.has_ops():
        print_build()
    else:
        print("library     none: everything is made of TensorFlow's own operations")


if __name__ == "__main__":
    main()
