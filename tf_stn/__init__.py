"""Spatial transformer networks for TensorFlow."""

from tf_stn import _library as _library  # First: it says what to do if TensorFlow is not there.
from tf_stn.grids import affine_grid
from tf_stn.layers import SpatialTransformer
from tf_stn.resampler import resampler

__version__ = "0.1.0"

__all__ = ["SpatialTransformer", "affine_grid", "resampler"]
