"""Shows what the left camera of a stereo pair sees, by sampling the view of the right one.

A pixel of the left view is found in the right one on the same row, as many pixels further left as
its disparity says:

    python examples/stereo.py --output stereo.png

What the right view does not have must not get a grey level that looks like one, so it is NaN: an
unknown disparity is NaN, and a NaN coordinate gives a NaN sample; for points beyond the edge NaN is
the `fill_value`; and what something nearer hides from the right camera follows from the
disparities. The picture shows all three in green.

Views and disparities are of the Middlebury benchmark of 2014; scikit-image ships them.
"""

import argparse
import pathlib

import matplotlib.pyplot as plt
import numpy as np
import pictures
import skimage.data

import tf_stn

LOST = "mediumseagreen"


def load_views() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the left view, the right view and the disparity; it is NaN where it is not known."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    disparity = np.where(np.isfinite(disparity), disparity, np.nan)
    return left.astype(np.float32), right.astype(np.float32), disparity


def sample_right(right: np.ndarray, disparity: np.ndarray) -> np.ndarray:
    """Returns the right view as the left camera has it, NaN where there is nothing to sample."""
    y, x = np.indices(disparity.shape, np.float32)
    warp = np.stack([x - disparity, y], axis=-1)
    return tf_stn.resampler(right[None], warp[None], fill_value=np.nan)[0].numpy()


def is_hidden(disparity: np.ndarray, known: np.ndarray, tolerance: float = 1.0) -> np.ndarray:
    """Says which pixels of the left view lie behind a nearer one, of more disparity, in the right.

    Args:
      disparity: `[height, width]`, in pixels.
      known: Which pixels of the left view there is a point for in the right one, `[height, width]`.
      tolerance: By how many pixels the other's disparity must be more.
    """
    rows, columns = np.nonzero(known)
    own = disparity[rows, columns]
    in_right = rows, np.rint(columns - own).astype(int)
    nearest = np.zeros_like(disparity)
    np.maximum.at(nearest, in_right, own)
    hidden = np.zeros_like(known)
    hidden[rows, columns] = own + tolerance < nearest[in_right]
    return hidden


def differences(left: np.ndarray, view: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Returns by how many grey levels `view` differs from the left one, NaN where it is lost."""
    return np.where(lost, np.nan, np.abs(view - left).mean(axis=-1))


def draw(panels: dict[str, np.ndarray], path: pathlib.Path) -> None:
    """Saves views, `[height, width, 3]`, and maps of one number, `[height, width]`, by title."""
    figure, axes = plt.subplots(2, 3, figsize=(10, 4.9), layout="constrained")
    for axis, (title, values) in zip(axes.flat, panels.items()):
        axis.set_facecolor(LOST)  # Seen through what is transparent.
        if values.ndim == 3:
            is_there = np.isfinite(values).all(axis=-1, keepdims=True)
            pixels = np.concatenate([np.nan_to_num(values), 255 * is_there], axis=-1)
            axis.imshow(pixels.astype(np.uint8))
        else:
            axis.imshow(values, cmap="inferno", vmin=0, vmax=100)
        axis.set_title(title, fontsize=9)
        axis.set(xticks=[], yticks=[])
    pictures.save(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Runs the example; returns its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("stereo.png"), help="the picture"
    )
    options = parser.parse_args(arguments)
    left, right, disparity = load_views()
    sampled = sample_right(right, disparity)
    known = np.isfinite(sampled).all(axis=-1)
    lost = ~known | is_hidden(disparity, known)
    before, after = (differences(left, view, lost) for view in (right, sampled))
    figures = {
        "difference before": np.nanmean(before),
        "difference after": np.nanmean(after),
        "lost": lost.mean(),
    }
    print(
        f"Mean absolute difference from the left view, in grey levels of 255: the right view "
        f"{figures['difference before']:.1f}, sampled by disparity "
        f"{figures['difference after']:.1f}; {figures['lost']:.0%} of the pixels are lost."
    )
    panels = {
        "left view": left,
        "right view": right,
        "right view, sampled by disparity": np.where(lost[..., None], np.nan, sampled),
        "disparity, in pixels": disparity,
        f"left − right: {figures['difference before']:.1f} grey levels": before,
        f"left − sampled: {figures['difference after']:.1f} grey levels": after,
    }
    draw(panels, options.output)
    return figures


if __name__ == "__main__":
    main()
