"""Transformations by name."""

from collections.abc import Callable
from typing import Any

from tf_stn._checks import check_mode
from tf_stn.transformations._affine import Affine, Attention, Translation
from tf_stn.transformations._base import Transformation
from tf_stn.transformations._fields import DenseDisplacement, VelocityField
from tf_stn.transformations._projective import Projective
from tf_stn.transformations._rotations import Rigid, Similarity
from tf_stn.transformations._splines import BSpline, ThinPlateSpline


def _of_images(rank: int) -> Transformation:
    if rank != 2:
        raise ValueError(
            f"`transformation` 'projective' must be of images, of rank 2, received rank {rank}"
        )
    return Projective()


# What makes each of a rank.
NAMES: dict[str, Callable[[int], Transformation]] = {
    "translation": lambda rank: Translation(rank),
    "attention": lambda rank: Attention(rank=rank),
    "rigid": lambda rank: Rigid(rank),
    "similarity": lambda rank: Similarity(rank),
    "affine": lambda rank: Affine(rank),
    "projective": _of_images,
    "thin_plate_spline": lambda rank: ThinPlateSpline((4,) * rank),
    "b_spline": lambda rank: BSpline((7,) * rank),
    "dense_displacement": lambda rank: DenseDisplacement(rank),
    "velocity_field": lambda rank: VelocityField(rank),
}


def get(transformation: str | Transformation, rank: int | None = None) -> Transformation:
    """Returns a transformation, by name or as it is.

    >>> tf_stn.transformations.get("rigid", rank=3).num_parameters
    6

    Args:
      transformation: A name such as `"thin_plate_spline"`, or a transformation.
      rank: 2 for images, 3 for volumes; default None: 2 for a name, and any for an object.

    Raises:
      ValueError: there is no such name, or the transformation is of another rank.
    """
    if isinstance(transformation, Transformation):
        if rank is not None and transformation.rank != rank:
            raise ValueError(
                f"`transformation` must be of rank {rank}, received {transformation!r} of rank "
                f"{transformation.rank}"
            )
        return transformation
    check_name(transformation)
    return NAMES[transformation](2 if rank is None else rank)


def check_name(transformation: Any) -> None:
    """Raises a ValueError unless there is a transformation of this name."""
    if isinstance(transformation, type) and issubclass(transformation, Transformation):
        name = transformation.__name__
        raise ValueError(
            "`transformation` must be a name or a transformation, received the class "
            f"{name}; did you mean {name}()?"
        )
    check_mode("transformation", transformation, NAMES)
