"""Layers of Keras, each with one job.

`Resampler` samples images where a warp says, `DisplacementResampler` moves every pixel by a
displacement, `Transform` applies a transformation of given parameters, and `SpatialTransformer`
finds the parameters itself.
"""

from tf_stn._sampling_layers import DisplacementResampler, Resampler, Transform
from tf_stn._spatial_transformer import SpatialTransformer

__all__ = ["DisplacementResampler", "Resampler", "SpatialTransformer", "Transform"]
