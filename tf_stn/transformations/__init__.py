"""Transformations: what the parameters that a localisation network predicts mean.

All map output points to the input points that are shown there, in the order (x, y[, z]), and
normalised to [-1, 1] where nothing else is said. They are values: made of numbers, without weights,
equal if these are. Wrappers such as `Bounded` and `Chain` are transformations too. One of your own
derives from `Transformation`.
"""

from tf_stn.transformations._affine import Affine, Attention, ConstrainedAffine, Translation
from tf_stn.transformations._base import Transformation
from tf_stn.transformations._chain import Chain
from tf_stn.transformations._fields import DenseDisplacement, VelocityField
from tf_stn.transformations._names import get
from tf_stn.transformations._projective import Projective
from tf_stn.transformations._rotations import Rigid, Similarity
from tf_stn.transformations._splines import BSpline, ThinPlateSpline
from tf_stn.transformations._wrappers import (
    Bounded,
    Inverse,
    Scaled,
    Several,
    StartingAt,
    Tiled,
)

__all__ = [
    "Affine",
    "Attention",
    "BSpline",
    "Bounded",
    "Chain",
    "ConstrainedAffine",
    "DenseDisplacement",
    "Inverse",
    "Projective",
    "Rigid",
    "Scaled",
    "Several",
    "Similarity",
    "StartingAt",
    "ThinPlateSpline",
    "Tiled",
    "Transformation",
    "Translation",
    "VelocityField",
    "get",
]
