"""OpenCV: `cv2.remap`, image by image."""

import cv2
import numpy as np

from peers.peer import Peer, Step

MOST_CHANNELS = 4


class Remap(Peer):
    """Forward only, and only for images of up to four channels."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        cv2.setNumThreads(threads)

    def versions(self) -> dict[str, str]:
        return {"opencv": cv2.__version__}

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        data, warp = inputs["data"], inputs["warp"]
        if data.shape[-1] > MOST_CHANNELS:
            return {}

        def forward() -> dict[str, np.ndarray]:
            output = np.empty_like(inputs["grad_output"])
            for image, points, samples in zip(data, warp, output):
                cv2.remap(
                    image,
                    points,
                    None,
                    cv2.INTER_LINEAR,
                    dst=samples,
                    borderMode=cv2.BORDER_CONSTANT,
                    borderValue=0,
                )
            return {"output": output}

        return {"forward": forward}
