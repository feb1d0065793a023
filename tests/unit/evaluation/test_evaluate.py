from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from facemend.datasets import FaceRecord, FaceSource, hash_identity
from facemend.errors import LeakError, ModelError, SourceError, UsageError
from facemend.evaluation.evaluate import evaluate
from facemend.evaluation.protocol import HOLE_BINS, SEED_SET, make_input
from facemend.evaluation.results import Evaluation, Group
from facemend.evaluation.systems import BASELINES, Delivery, Images, Masks, System, copy_input
from facemend.images import Image
from facemend.metrics.image import ssim
from facemend.metrics.psnr import psnr
from tests.tiny_celeba import gradient

COPY = BASELINES["copy"]
HOLE = ("hole", "psnr")


def read_gradient(name: str) -> Image:
    return gradient(256, 256, int(name))


def source_of(people: Sequence[str | None]) -> FaceSource:
    records = [FaceRecord(str(number), person) for number, person in enumerate(people)]
    return FaceSource("Gradients", records, read_gradient, "fingerprint")


SOURCE = source_of(["ann", "ann", "bob", "cleo"])


def run(*systems: System, kinds: Sequence[str] = ("nose_mask",), source: FaceSource = SOURCE) -> Evaluation:
    return evaluate(systems, source, kinds, split="test")


def system_of(deliver: Callable[[Images], Delivery], name: str = "stub") -> System:
    return System(name, blind=True, deliver=lambda images, masks: deliver(images))


def oracle(name: str = "oracle") -> System:
    """Knows the truth of every input of SOURCE by its bytes."""
    truths = {
        face.image.tobytes(): face
        for record in SOURCE.records
        for kind in SEED_SET
        for face in [make_input(read_gradient(record.name), record.name, kind)]
    }

    def deliver(images: Images) -> Delivery:
        faces = [truths[image.tobytes()] for image in images]
        truth = np.stack([face.target for face in faces])
        return Delivery(truth, truth, np.stack([face.occlusion.alpha for face in faces]))

    return system_of(deliver, name)


def test_scores_are_the_means_over_the_pictures_of_the_protocol() -> None:
    report = run(COPY, kinds=["blur", "nose_mask"]).report
    faces = [make_input(read_gradient(record.name), record.name, "blur") for record in SOURCE.records]
    blur = Group(kind="blur")
    for measure, expected in {
        HOLE: [psnr(face.image, face.target, face.occlusion.mask) for face in faces],
        ("composite", "psnr"): [psnr(face.image, face.target) for face in faces],
        ("raw", "ssim"): [ssim(face.image, face.target) for face in faces],
    }.items():
        row = report.find("copy", measure, blur)
        assert row is not None
        assert row.mean == pytest.approx(np.mean(np.array(expected, dtype=float)), abs=1e-6)
        assert (row.n, row.apart) == (4, 0)


def test_raw_and_composite_are_told_apart() -> None:
    def deliver(images: Images) -> Delivery:
        return Delivery(255 - images, images, None)

    report = run(system_of(deliver), COPY).report
    composites = [report.find(name, ("composite", "ssim")) for name in ("stub", "copy")]
    raws = [report.find(name, ("raw", "ssim")) for name in ("stub", "copy")]
    assert composites[0] is not None
    assert composites[1] is not None
    assert composites[0].mean == composites[1].mean
    assert raws[0] is not None
    assert raws[1] is not None
    assert raws[0].mean != raws[1].mean


def test_every_picture_is_in_one_group_of_each_cut() -> None:
    report = run(COPY, kinds=SEED_SET).report
    cuts = {
        "kind": [Group(kind=kind) for kind in SEED_SET],
        "extent": [Group(extent=extent) for extent in ("partial", "full")],
        "size": [Group(hole_bin=size) for size in HOLE_BINS],
    }
    for groups in cuts.values():
        rows = [report.find("copy", HOLE, group) for group in groups]
        assert sum(row.n for row in rows if row is not None) == len(SOURCE) * len(SEED_SET)


def test_perfect_pictures_are_counted_apart() -> None:
    report = run(oracle()).report
    row = report.find("oracle", HOLE)
    assert row is not None
    assert (row.mean, row.low, row.n, row.apart) == (None, None, 0, 4)
    for measure in (("composite", "ssim"), ("occlusion", "iou"), ("hole", "sharpness")):
        found = report.find("oracle", measure)
        assert found is not None
        assert found.mean == 1


def test_the_occlusion_is_judged_where_a_system_looks_for_it() -> None:
    report = run(oracle(), COPY).report
    assert report.find("oracle", ("occlusion", "iou")) is not None
    assert report.find("copy", ("occlusion", "iou")) is None


@pytest.mark.parametrize(("rows_changed", "edits"), [(2, 0.0), (3, 1.0)], ids=["0.8%", "1.2%"])
def test_a_false_edit_changes_more_than_1_percent_of_a_face_without_occlusion(
    rows_changed: int, edits: float
) -> None:
    def repair(images: Images) -> Images:
        changed = images.copy()
        changed[:, :rows_changed, :, 0] ^= 1
        return changed

    row = run(replace(COPY, repair=repair)).report.find("copy", ("unoccluded", "false_edits"))
    assert row is not None
    assert (row.mean, row.n) == (edits, len(SOURCE))
    assert run(COPY).report.find("copy", ("unoccluded", "false_edits")) is None


def test_only_a_system_that_is_not_blind_is_shown_the_mask() -> None:
    shown: dict[bool, Masks | None] = {}

    def watch(blind: bool) -> System:
        def deliver(images: Images, masks: Masks | None) -> Delivery:
            shown[blind] = masks
            return copy_input(images, masks)

        return System(f"watch {blind}", blind=blind, deliver=deliver)

    run(watch(True), watch(False))
    assert shown[True] is None
    last = SOURCE.records[-1].name
    expected = make_input(read_gradient(last), last, "nose_mask").occlusion.mask
    np.testing.assert_array_equal(shown[False], expected[None])


def test_the_same_run_gives_the_same_report() -> None:
    reports = [run(COPY, BASELINES["telea"], kinds=SEED_SET).report for _ in range(2)]
    timeless = [
        replace(report, systems=tuple(replace(system, latency_ms=None) for system in report.systems))
        for report in reports
    ]
    assert timeless[0] == timeless[1]


def test_the_hash_of_a_kind_tells_its_inputs_and_nothing_else() -> None:
    hashes = run(COPY, kinds=["blur", "nose_mask"]).report.inputs_sha256
    assert run(COPY, BASELINES["telea"], kinds=["nose_mask"]).report.inputs_sha256 == {
        "nose_mask": hashes["nose_mask"]
    }
    fewer = run(COPY, source=SOURCE.first(3)).report.inputs_sha256
    assert fewer["nose_mask"] != hashes["nose_mask"]


def trained_on(*people: str) -> System:
    return replace(COPY, name="trained", training_people=frozenset(map(hash_identity, people)))


def test_a_system_that_was_trained_on_the_evaluated_people_is_refused_before_any_work() -> None:
    def read_nothing(name: str) -> Image:
        raise AssertionError(f"{name} is read")

    source = replace(SOURCE, read=read_nothing)
    with pytest.raises(LeakError, match=r"1 of 3 people of the test \(trained\) set"):
        run(COPY, trained_on("bob", "zoe"), source=source)


def test_the_report_says_what_is_known_of_the_training_people() -> None:
    unknown = replace(COPY, name="unknown", training_people=None)
    systems = run(COPY, trained_on("zoe"), unknown).report.systems
    assert [system.training_people for system in systems] == ["none", "disjoint", "unknown"]


def test_a_trained_system_cannot_be_measured_on_people_that_nobody_knows() -> None:
    strangers = source_of([None, "bob"])
    with pytest.raises(SourceError, match="no identity"):
        run(trained_on("zoe"), source=strangers)
    assert run(COPY, source=strangers).report.people == 2


@pytest.mark.parametrize(
    ("delivery", "message"),
    [
        (lambda x: Delivery(x[:, :128], x, None), r"uint8 \(1, 128, 256, 3\), not uint8"),
        (lambda x: Delivery(x, x / 127.5 - 1, None), "float64"),
        (lambda x: Delivery(x, x, np.full(x.shape[:3], np.nan, dtype=np.float32)), "alpha"),
        (lambda x: Delivery(x, x, np.full(x.shape[:3], 255, dtype=np.float32)), "alpha"),
        (lambda x: Delivery(x, x, np.zeros((1, 2, 256, 256), dtype=np.float32)), "alpha"),
    ],
    ids=["size", "network range", "NaN", "alpha to 255", "alpha by class"],
)
def test_pictures_of_another_size_type_or_range_are_refused(
    delivery: Callable[[Images], Delivery], message: str
) -> None:
    with pytest.raises(ModelError, match=f"stub delivers .*{message}"):
        run(system_of(delivery))


def test_nothing_to_measure_and_names_that_clash_are_errors() -> None:
    with pytest.raises(UsageError, match="nothing to measure"):
        run()
    with pytest.raises(UsageError, match="nothing to measure"):
        run(COPY, kinds=())
    with pytest.raises(UsageError, match="two systems have one name"):
        run(COPY, COPY)


def test_the_seam_is_1_for_the_truth_and_more_for_a_cover_left_in_place() -> None:
    report = run(oracle(), COPY).report
    seam = [report.find(name, ("seam", "gradient")) for name in ("oracle", "copy")]
    ring = [report.find(name, ("seam", "ssim")) for name in ("oracle", "copy")]
    assert seam[0] is not None
    assert seam[1] is not None
    assert ring[1] is not None
    assert ring[1].mean is not None
    assert (seam[0].mean, seam[0].n) == (1, 4)
    assert seam[1].mean is not None
    assert seam[1].mean > 1.5
    assert ring[1].mean < 0.9
    assert report.find("copy", ("seam", "gradient_p95")) is not None


def test_the_mean_hole_of_a_kind_is_reported() -> None:
    report = run(COPY, kinds=["blur", "nose_mask"]).report
    faces = [make_input(read_gradient(record.name), record.name, "blur") for record in SOURCE.records]
    assert report.coverage["blur"] == pytest.approx(
        np.mean([face.occlusion.coverage for face in faces]), abs=1e-6
    )
