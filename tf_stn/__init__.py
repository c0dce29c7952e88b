"""Spatial transformer networks for TensorFlow."""

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from tf_stn import _library as _library  # First: it says what to do if TensorFlow is not there.

# isort: split
from tf_stn import _gradients as _gradients  # Registers them.
from tf_stn import _vectorized_map as _vectorized_map  # Likewise its converters.
from tf_stn import _xla as _xla  # Likewise its kernels.
from tf_stn import fields as fields
from tf_stn import matrices as matrices
from tf_stn import transformations as transformations
from tf_stn._affine_resampler import affine_resampler
from tf_stn._displacement_resampler import displacement_resampler
from tf_stn._grids import affine_grid, identity_grid
from tf_stn._implementation import portable
from tf_stn._library import library_path
from tf_stn._projective_resampler import projective_resampler
from tf_stn._resampler import resampler

if TYPE_CHECKING:
    from tf_stn import callbacks as callbacks
    from tf_stn import layers as layers
    from tf_stn import metrics as metrics
    from tf_stn import onnx as onnx
    from tf_stn import regularizers as regularizers
    from tf_stn import visualize as visualize
    from tf_stn.layers import SpatialTransformer as SpatialTransformer

# Without a Keras that can be imported, the rest still works. Imported here all the same, since a
# saved model can only be loaded once its layers and nodes are registered.
with contextlib.suppress(ImportError):
    from tf_stn import _nodes as _nodes
    from tf_stn.layers import SpatialTransformer

__version__ = "0.1.0"

__all__ = [
    "SpatialTransformer",
    "affine_grid",
    "affine_resampler",
    "callbacks",
    "displacement_resampler",
    "fields",
    "identity_grid",
    "layers",
    "library_path",
    "matrices",
    "metrics",
    "onnx",
    "portable",
    "projective_resampler",
    "regularizers",
    "resampler",
    "transformations",
    "visualize",
]


def __getattr__(name: str) -> Any:
    if name == "SpatialTransformer":
        from tf_stn.layers import SpatialTransformer  # Says why it could not be imported.

        return SpatialTransformer
    if name in ("callbacks", "layers", "metrics", "onnx", "regularizers", "visualize"):
        return importlib.import_module(f"tf_stn.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
