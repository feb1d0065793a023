"""How far a reconstruction is from the true person, by a face recogniser's descriptors."""

import numpy as np
import numpy.typing as npt

from facemend.errors import FacemendError
from facemend.frame import canonical_landmarks
from facemend.images import Image

try:
    import dlib
    import face_recognition_models as models
except ImportError as error:
    raise FacemendError('the identity distance needs dlib: pip install "facemend[identity]"') from error


class IdentityNetwork:
    """dlib's 128-d face descriptor, of the face that its 5-point aligner finds in the truth.

    King, "Dlib-ml: a machine learning toolkit", JMLR 10, 2009; the network is dlib_face_recognition_
    resnet_model_v1. Both pictures are aligned by the truth, so that only what is drawn counts, not where
    an aligner thinks that it lies.
    """

    def __init__(self) -> None:
        self._aligner = dlib.shape_predictor(models.pose_predictor_five_point_model_location())
        self._recogniser = dlib.face_recognition_model_v1(models.face_recognition_model_location())

    def describe(self, image: Image, truth: Image) -> npt.NDArray[np.float32]:
        """The descriptor of a canonical crop, (128,). Two pictures of one person are mostly within 0.6.

        Args:
            image, truth: uint8 (S, S, 3).
        """
        landmarks = self._aligner(truth, _face_box(truth.shape[0]))
        return np.array(self._recogniser.compute_face_descriptor(image, landmarks), dtype=np.float32)


def _face_box(side_px: int) -> dlib.rectangle:
    """Where dlib's own detector sees the face in most canonical crops: brows to chin."""
    landmarks_px = canonical_landmarks(side_px)
    eyes, mouth = landmarks_px[:2].mean(axis=0), landmarks_px[3:].mean(axis=0)
    centre, half = eyes + 0.64 * (mouth - eyes), 1.05 * float(mouth[1] - eyes[1])
    return dlib.rectangle(*(round(float(v)) for v in (*(centre - half), *(centre + half))))
