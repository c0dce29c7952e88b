"""How the examples write their pictures."""

import pathlib

import matplotlib

matplotlib.use("Agg")  # Pictures are written, not shown.
import matplotlib.pyplot as plt
import PIL.Image

COLOURS = 256


def save(figure: plt.Figure, path: pathlib.Path, dpi: int = 100) -> None:
    """Writes `figure` in few colours, which makes the file of photos several times smaller."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
    with PIL.Image.open(path) as picture:
        few_colours = picture.convert("RGB").quantize(COLOURS)
    few_colours.save(path, optimize=True)
    print(f"Written: {path}")
