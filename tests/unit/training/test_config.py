from pathlib import Path

import pytest

from facemend.errors import ConfigError
from facemend.training.config import read_config

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


@pytest.mark.parametrize("name", ["facemend", "facemend_people", "finetune", "pairs", "pix2pix", "smoke"])
def test_the_configs_that_come_along_are_valid(repo_root: Path, name: str) -> None:
    assert read_config(repo_root / "configs" / f"{name}.toml").name == name.removesuffix("_people")


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
        ("phases.0.losses.game=chess", "'bce', 'lsgan' or 'hinge'"),
        ("seed", "key=value"),
        ("phases.7.images=3", "no such place"),
        ("name.first=3", "no such place"),
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
