from pathlib import Path

import pytest

from facemend.errors import ConfigError
from facemend.training.config import TrainingConfig, read_config

_SMALLEST = """
name = "x"
[data]
kinds = { blur = 1.0 }
[[phases]]
name = "only"
images = 8
learning_rate = 1e-3
losses = { l1_hole = 1.0 }
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(_SMALLEST)
    return path


_CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("path", sorted(_CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_configs_that_come_along_are_valid(path: Path) -> None:
    assert read_config(path).name == path.stem


@pytest.mark.parametrize(
    ("stem", "images", "size_px"),
    [
        ("01_start", [140_000, 64_000, 24_000, 2_800], [64, 128, 256, 256]),
        ("02_long", [140_000, 22_000, 18_000], [128, 256, 256]),
        ("03_muon", [240_000, 150_000, 40_000], [64, 128, 256]),
        ("04_fine", [100_000, 40_000], [128, 256]),
        ("05_gpu", [1_766_400, 499_200], [128, 256]),
        ("06_cpu", [36_000], [256]),
        ("07_gpu_again", [3_489_120, 1_265_040], [128, 256]),
        ("08_gan", [18_000], [256]),
    ],
)
def test_the_recipe_of_the_shipped_model_is_the_one_in_its_card(
    repo_root: Path, stem: str, images: list[int], size_px: list[int]
) -> None:
    config = read_config(repo_root / f"configs/facemend/{stem}.toml")
    assert [phase.images for phase in config.phases] == images
    assert [phase.size_px for phase in config.phases] == size_px
    assert config.generator.widths == (64, 96, 160, 256, 256)
    muon = stem > "03"
    assert all(phase.optimizer == ("muon" if muon else "adamw") for phase in config.phases)
    assert all((phase.losses.alpha_overlap > 0) == (stem > "04") for phase in config.phases)
    assert config.phases[-1].losses.use_discriminator == (stem in {"01_start", "02_long", "08_gan"})


def test_the_run_on_people_extends_the_recipe(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda path: True)  # its folder of cut-outs is not in the clone
    config = read_config(repo_root / "configs/facemend/09_people.toml")
    assert [phase.name for phase in config.phases] == ["full", "adversarial"]
    assert {phase.echo for phase in config.phases} == {1}
    assert next(iter(config.data.kinds)) == "real_mask"
    assert list(config.data.sources) == ["celeba", "faces", "tight"]


_BASE = """
name = "base"
[data]
hinted = 0.5
kinds = { blur = 1.0, nose_mask = 1.0 }
[phases.low]
images = 8
size_px = 64
learning_rate = 1e-3
losses = { l1_hole = 1.0 }
[phases.full]
images = 16
learning_rate = 1e-4
losses = { l1_hole = 1.0 }
"""


def _extended(folder: Path, text: str, *overrides: str) -> TrainingConfig:
    (folder / "base.toml").write_text(_BASE)
    path = folder / "runs" / "child.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text('extends = "../base.toml"\n' + text)
    return read_config(path, overrides)


def test_a_file_that_extends_says_only_what_differs(tmp_path: Path) -> None:
    child = _extended(tmp_path, 'name = "child"\n[data]\nunoccluded = 0.1')
    base = read_config(tmp_path / "base.toml")
    assert child == base.model_copy(
        update={"name": "child", "data": base.data.model_copy(update={"unoccluded": 0.1})}
    )


def test_kinds_replace_those_of_the_base(tmp_path: Path) -> None:
    data = _extended(tmp_path, "[data.kinds]\nmask_full = 1").data
    assert (data.kinds, data.hinted) == ({"mask_full": 1}, 0.5)
    assert _extended(tmp_path, "", "data.kinds.mask_full=1").data.kinds.keys() == {
        "blur",
        "nose_mask",
        "mask_full",
    }


def test_phases_that_a_file_names_are_made_in_its_order(tmp_path: Path) -> None:
    phases = _extended(tmp_path, "[phases.full]\nlosses = { alpha = 0.5 }\n[phases.low]\nbatch = 2").phases
    assert [(p.name, p.images, p.batch) for p in phases] == [("full", 16, 8), ("low", 8, 2)]
    assert (phases[0].losses.l1_hole, phases[0].losses.alpha) == (1.0, 0.5)
    as_list = _extended(tmp_path, '[[phases]]\nname = "low"\nbatch = 2').phases
    assert as_list == phases[1:]


def test_a_phase_that_a_file_leaves_out_is_there_for_those_that_extend_it(tmp_path: Path) -> None:
    _extended(tmp_path, "[phases.full]")
    grandchild = tmp_path / "runs" / "grandchild.toml"
    grandchild.write_text('extends = "child.toml"\n[phases.low]\nimages = 24')
    (phase,) = read_config(grandchild).phases
    assert (phase.images, phase.size_px) == (24, 64)


def test_overrides_come_last_and_know_phases_by_name(tmp_path: Path) -> None:
    config = _extended(tmp_path, "[phases.low]\nbatch = 2", "phases.low.batch=4", "phases.0.images=12")
    assert (config.phases[0].batch, config.phases[0].images) == (4, 12)
    with pytest.raises(ConfigError, match="no such key"):
        _extended(tmp_path, "[phases.low]", "phases.full.batch=4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "c.toml"', r"c\.toml extends c\.toml, which extends it again"),
        ('extends = "loop.toml"', r"loop\.toml extends c\.toml, which extends it again"),
        ('extends = "none.toml"', r"cannot read the config .*none\.toml"),
        ("extends = 3", r'extends names one file, for example extends = "base\.toml"'),
        ('extend = "base.toml"', r"unknown key extend; did you mean extends\?"),
        ('extends = "base.toml"\n[phases.new]\nimages = 8', r"phases\.0\.learning_rate: Field required"),
        ('extends = "base.toml"\n[phases]\nlow = 3', r"phases: Input should be a valid (tuple|list)"),
    ],
)
def test_a_wrong_extension_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "base.toml").write_text(_BASE)
    (tmp_path / "loop.toml").write_text('extends = "c.toml"')
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as raised:
        read_config(path)
    assert "\n" not in str(raised.value)


def test_pix2pix_toml_is_the_papers_experiment(repo_root: Path) -> None:
    config = read_config(repo_root / "configs" / "pix2pix.toml")
    (phase,) = config.phases
    assert (phase.batch, phase.optimizer, phase.learning_rate, phase.betas) == (
        1,
        "adam",
        2e-4,
        (0.5, 0.999),
    )
    assert (phase.losses.l1_image, phase.losses.adversarial) == (100, 1)
    assert phase.images == 5 * (config.data.images or 0) == 100_000
    assert config.data.jitter_px == 286
    assert config.data.flip


def test_an_unknown_key_names_the_nearest_one(config_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"phases\.0\.learning_rat; did you mean learning_rate\?"):
        read_config(config_file, ["phases.0.learning_rat=1"])
    with pytest.raises(ConfigError, match=r"unknown key sed; did you mean seed\?"):
        read_config(config_file, ["sed=1"])
    with pytest.raises(ConfigError, match=r"losses\.l1_hol; did you mean l1_hole\?"):
        read_config(config_file, ["phases.0.losses.l1_hol=1"])


def test_an_unknown_key_of_a_source_names_the_nearest_one(config_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.sources\.a\.oversampel; did you mean oversample\?"):
        read_config(config_file, ["data.sources.a.share=1", "data.sources.a.oversampel=1"])
    with pytest.raises(ConfigError, match=r"unknown group 'tuned'; did you mean turned\?"):
        read_config(config_file, ["data.sources.a.share=1", "data.sources.a.oversample.tuned=3"])


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["data.sources.a.share=0"], "greater than 0"),
        (["data.sources.a.share=1", "data.sources.a.path=x"], "exactly one of the sources has no path"),
        (["data.sources.a.share=1", "data.sources.b.share=1"], "exactly one of the sources has no path"),
        (["data.sources.a.share=1", "data.sources.a.use=measure"], "never trained on"),
        (["data.sources.a.share=1", "data.sources.a.oversample.turned=0.5"], "greater than or equal to 1"),
        (["data.sources.a.share=1", "data.pairs=folders", "data.kinds={}"], "leave out pairs or sources"),
    ],
)
def test_sources_that_make_no_sense_are_refused(config_file: Path, sets: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(config_file, sets)


def test_an_unknown_occlusion_names_the_nearest_one(config_file: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean nose_mask"):
        read_config(config_file, ["data.kinds.nose_maks=1"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("phases.0.images=0", "greater than or equal to 1"),
        ("phases.0.size_px=100", "multiple of 64"),
        ("ema=2", "less than or equal to 1"),
        ("generator.kind=vit", "'unet' or 'pix2pix'"),
        ("data.kinds.blur=0", "no kind of occlusion"),
        ("data.kinds.real_mask=0.5", "real_mask is drawn from a folder of cut-outs: name it"),
        ("data.kinds.real_maks=0.5", "did you mean real_mask?"),
        ("data.jitter_px=128", "smaller than size_px"),
        ("data.pairs=folders", "leave out pairs or kinds"),
        ("phases.0.losses.gan_mode=chess", "'bce' or 'hinge'"),
        ("seed", "key=value"),
        ("phases.7.images=3", "no such key"),
        ("name.first=3", "no such key"),
    ],
)
def test_a_bad_value_is_one_line(config_file: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        read_config(config_file, [override])
    assert "\n" not in str(raised.value)


def test_the_papers_network_takes_256_pixels_only(repo_root: Path) -> None:
    with pytest.raises(ConfigError, match="256"):
        read_config(repo_root / "configs" / "pix2pix.toml", ["phases.0.size_px=128"])


def test_overrides_reach_numbers_text_and_lists(config_file: Path) -> None:
    config = read_config(config_file, ["name=other", "phases.0.images=24", "generator.widths=[8, 16]"])
    assert (config.name, config.phases[0].images, config.generator.widths) == ("other", 24, (8, 16))


def test_missing_and_broken_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(ConfigError, match="no valid TOML"):
        read_config(broken)


def test_a_folder_of_cutouts_has_to_exist_if_something_is_drawn_from_it(
    config_file: Path, tmp_path: Path
) -> None:
    gone = ["data.kinds.real_mask=0.5", f"data.cutouts={tmp_path / 'gone'}"]
    with pytest.raises(ConfigError, match="gone, which is no folder; name one of cut-outs"):
        read_config(config_file, gone)
    assert read_config(config_file, [*gone[1:], "data.kinds.real_mask=0"]).data.shares == {"blur": 1.0}
    here = read_config(config_file, [gone[0], f"data.cutouts={tmp_path}"]).data
    assert (here.cutouts, here.from_folder) == (str(tmp_path), ["real_mask"])
