import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from facemend.alignment import crop_face
from facemend.images import Image, Mask
from facemend.metrics.image import find_edge, seam_gradient
from facemend.metrics.psnr import psnr
from facemend.occlusion import KINDS, occlude
from facemend.reconstruction import deblur as deblur_module
from facemend.reconstruction.deblur import deblur
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.model import Model, ModelOutput
from facemend.reconstruction.reconstructor import Reconstructor

CROPS = [crop_face(portrait.photo, portrait.landmarks_px).image for portrait in read_portraits()]


def _drawn(truth: Image, seed: int = 0) -> Image:
    """What a network might reconstruct: its error is smooth over a few pixels, and a little over many."""
    noise, unit = np.random.default_rng(seed).normal(size=truth.shape), len(truth) / 256
    fine, coarse = (
        cv2.GaussianBlur(noise, (0, 0), 1.8 * unit),
        cv2.GaussianBlur(noise[::-1], (0, 0), 8 * unit),
    )
    error = 15 * fine / fine.std() + 6 * coarse / coarse.std()
    drawn: Image = np.rint(truth + error).clip(0, 255).astype(np.uint8)
    return drawn


def _output(raw: Image) -> ModelOutput:
    shape = raw.shape[:2]
    alpha = np.zeros((1, 2, *shape), dtype=np.float32)
    return ModelOutput(raw[None], alpha, np.full((1, *shape), 10, dtype=np.float32))


def _gain(truth: Image, occluded: Image, hole: Mask) -> float:
    """How much nearer to the truth the answer comes in the hole, in dB; nothing else may change."""
    drawn = _drawn(truth)
    given = _output(drawn)
    kept = deblur(occluded, given, hole)
    np.testing.assert_array_equal(kept.raw[0][~hole], drawn[~hole])
    assert kept.alpha is given.alpha
    assert kept.interval is not None
    np.testing.assert_array_equal(kept.interval[0][~hole], 10)
    assert (kept.interval[0][hole] < 10).all() == (kept is not given)
    before, after = (psnr(picture, truth, hole) for picture in (drawn, kept.raw[0]))
    assert before is not None
    assert after is not None
    return after - before


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["blur", "blur_full"])
def test_what_a_blur_lets_through_is_kept(kind: str, seed: int) -> None:
    truth = CROPS[seed % 2]
    face = occlude(truth, None, kind, seed)
    assert _gain(truth, face.image, face.occlusion.mask) > 0.3


@pytest.mark.parametrize("sigma_px", [5, 11, 18])
@pytest.mark.parametrize("border", [cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE])
def test_a_true_gaussian_of_the_cut_out_alone_is_recognised(border: int, sigma_px: float) -> None:
    truth = CROPS[0]
    hole = np.zeros(truth.shape[:2], dtype=np.bool_)
    hole[105:230, 64:188] = True
    occluded = truth.copy()
    part = np.ascontiguousarray(truth[105:230, 64:188])
    occluded[105:230, 64:188] = cv2.GaussianBlur(part, (0, 0), sigma_px, borderType=border)
    assert _gain(truth, occluded, hole) > 0.7


def test_it_works_at_other_sizes_and_where_the_hole_is_not_known_exactly() -> None:
    truth = np.asarray(PillowImage.fromarray(CROPS[1]).resize((128, 128)))
    face = occlude(truth, None, "blur_full", 3)
    hole = face.occlusion.mask.copy()
    rows = np.flatnonzero(hole.any(axis=1))
    hole[rows[-1] + 1] = hole[rows[-1]]
    hole[rows[0], ::3] = False
    drawn = _drawn(truth)
    kept = deblur(face.image, _output(drawn), hole).raw[0]
    before, after = (psnr(picture, truth, face.occlusion.mask) for picture in (drawn, kept))
    assert before is not None
    assert after is not None
    assert after > before + 0.5


@pytest.mark.parametrize("quality", [50, 90])
def test_jpeg_is_not_taken_for_what_was_seen(quality: int) -> None:
    for seed, truth in enumerate(CROPS):
        face = occlude(truth, None, "blur_full", seed)
        file = io.BytesIO()
        PillowImage.fromarray(face.image).save(file, "JPEG", quality=quality)
        occluded = np.asarray(PillowImage.open(file).convert("RGB"))
        assert _gain(truth, occluded, face.occlusion.mask) > -0.1


@pytest.mark.parametrize("kind", ["nose_mask", "mask_full", "textured_mask", "sunglasses", "patch_full"])
def test_what_is_neither_a_blur_nor_a_mosaic_is_left_alone(kind: str) -> None:
    for seed in range(4):
        face = occlude(CROPS[seed % 2], None, kind, seed)
        given = _output(_drawn(CROPS[seed % 2]))
        assert deblur(face.image, given, face.occlusion.mask) is given


@pytest.mark.parametrize("beyond_px", [0, 2])
def test_a_mosaic_keeps_the_means_of_its_blocks(beyond_px: int) -> None:
    truth, hole = CROPS[0], np.zeros((256, 256), dtype=np.bool_)
    hole[96:240, 60:192] = True
    blocks = truth[96:240, 60:192].reshape(12, 12, 11, 12, 3).mean(axis=(1, 3))
    occluded = truth.copy()
    occluded[96:240, 60:192] = np.rint(blocks).repeat(12, axis=0).repeat(12, axis=1)
    found = np.zeros_like(hole)
    found[96 - beyond_px : 240 + beyond_px, 60 - beyond_px : 192 + beyond_px] = True
    kept = deblur(occluded, _output(_drawn(truth)), found).raw[0][96:240, 60:192]
    off = np.abs(kept.reshape(12, 12, 11, 12, 3).mean(axis=(1, 3)) - blocks)
    assert np.quantile(off, 0.95) < 1  # not all: colours end at 0 and 255
    assert _gain(truth, occluded, hole) > 0.5


def test_a_round_mosaic_is_corrected_too() -> None:
    for seed in range(40):
        face = occlude(CROPS[seed % 2], None, "pixelate", seed)
        if face.occlusion.parameters["round"] and face.occlusion.parameters["averaged"]:
            assert _gain(CROPS[seed % 2], face.image, face.occlusion.mask) > 0.2


def test_the_correction_draws_no_frame() -> None:
    for seed, truth in enumerate(CROPS):
        face = occlude(truth, None, "blur_full", seed)
        edge = find_edge(face.occlusion.alpha)
        assert edge is not None
        hole, drawn = face.occlusion.mask, _drawn(truth)
        kept = deblur(face.image, _output(drawn), hole).raw[0]
        before, after = (
            seam_gradient(np.where(hole[:, :, None], picture, truth), truth, edge)
            for picture in (drawn, kept)
        )
        assert before is not None
        assert after is not None
        assert after < 1.1 * before


def test_without_a_hole_or_with_a_tiny_one_nothing_happens() -> None:
    truth = CROPS[0]
    given = _output(_drawn(truth))
    hole = np.zeros(truth.shape[:2], dtype=np.bool_)
    assert deblur(truth, given, hole) is given
    hole[100:112, 100:112] = True
    assert deblur(truth, given, hole) is given
    small = np.full((16, 16, 3), 90, dtype=np.uint8)
    given = _output(small)
    assert deblur(small, given, np.ones((16, 16), dtype=np.bool_)) is given


def test_a_gradient_that_is_no_blurred_face_is_left_alone() -> None:
    truth = CROPS[0]
    occluded = truth.copy()
    occluded[105:230, 64:188] = np.linspace(30, 220, 125)[:, None, None]
    hole = np.zeros(truth.shape[:2], dtype=np.bool_)
    hole[105:230, 64:188] = True
    given = _output(_drawn(truth))
    assert deblur(occluded, given, hole) is given


def test_no_kind_costs_four_times_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: runs of the network, and products and eigenproblems in units of such a run."""
    counts = {"runs": 0.0, "products": 0.0}
    run, product, eigh = Model.__call__, deblur_module._product, np.linalg.eigh

    def counted_run(self: Model, *arguments: Any, **options: Any) -> Any:
        counts["runs"] += 1
        return run(self, *arguments, **options)

    def counted_product(left: Any, right: Any) -> Any:
        counts["products"] += left.size * right.shape[1]
        return product(left, right)

    def counted_eigh(matrix: Any) -> Any:
        counts["products"] += 10 * len(matrix) ** 3
        assert len(matrix) <= 25  # above it BLAS starts threads
        return eigh(matrix)

    monkeypatch.setattr(Model, "__call__", counted_run)
    monkeypatch.setattr(deblur_module, "_product", counted_product)
    monkeypatch.setattr(np.linalg, "eigh", counted_eigh)
    reconstructor, taken = Reconstructor(threads=1), dict[str, float]()
    for kind in KINDS:
        counts.update(runs=0, products=0)
        reconstructor(occlude(CROPS[0], None, kind, 1).image, aligned=True, remove="all")
        assert counts["products"] < 0.2e9, kind  # a run of the network: 2e9
        taken[kind] = counts["runs"] + counts["products"] / 2e9
    assert max(taken.values()) < 4 * min(taken.values()), taken
