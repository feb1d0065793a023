import os
from pathlib import Path

import pytest

from facemend.errors import OutputError
from facemend.files import (
    UnfitFile,
    open_log,
    open_named,
    parse_csv,
    parse_json,
    parse_toml,
    read_named,
    read_own,
    refuse_links,
    sha256_of,
    write_text,
    written_whole,
)


def test_a_text_is_written_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "grün\n")
    assert path.read_bytes() == "grün\n".encode()


def test_a_file_has_the_permissions_that_any_new_file_has(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OutputError, match=r"exists already.*force=True"):
        write_text(path, "new")
    assert path.read_text() == "old"
    write_text(path, "new", force=True)
    assert path.read_text() == "new"


def _fail_half_way(path: Path) -> None:
    with written_whole(path, force=True) as temporary:
        temporary.write_text("half")
        _ = 1 / 0


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        _fail_half_way(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*a\.txt: No space left"),
        written_whole(tmp_path / "a.txt"),
    ):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_text(tmp_path / "file" / "a.txt", "")


def test_a_file_of_our_own_is_never_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("secret")
    (tmp_path / "ours").symlink_to("theirs")
    with pytest.raises(UnfitFile, match="is a link; remove it"):
        read_own(tmp_path / "ours")
    with pytest.raises(OutputError, match="is a link; remove it"):
        open_log(tmp_path / "ours")
    assert read_named(tmp_path / "ours") == b"secret"  # a name that the user gave is followed


def test_a_log_is_not_appended_to_a_file_with_another_name(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("theirs\n")
    (tmp_path / "log").hardlink_to(tmp_path / "profile")
    with pytest.raises(OutputError, match="link to another file"):
        open_log(tmp_path / "log")
    assert (tmp_path / "profile").read_text() == "theirs\n"


def test_a_log_is_made_and_appended_to(tmp_path: Path) -> None:
    for line in ("a", "ö"):
        with open_log(tmp_path / "log") as file:
            file.write(f"{line}\n")
    assert read_own(tmp_path / "log") == "a\nö\n".encode()


def test_pipes_devices_and_folders_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        for read in (read_own, read_named, sha256_of, open_named):
            with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
                read(path)
    with pytest.raises(OutputError, match="cannot write"):
        open_log(tmp_path / "pipe")


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1 << 20))
    assert len(read_own(tmp_path / "a", 1 << 20)) == 1 << 20
    (tmp_path / "a").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(UnfitFile, match="more than 1 MiB"):
        read_own(tmp_path / "a", 1 << 20)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '"\\ud800"', '{"a": "\\udfff"}', "NaN", "[Infinity]", "1" * 5000, "{", b"\xff"]
)
def test_json_that_nobody_writes_is_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text)


def test_json_with_whole_characters_is_read() -> None:
    assert parse_json(r'["\ud83d\ude00", "\u00e4"]') == ["😀", "ä"]


def test_a_new_file_is_as_private_as_what_it_is_made_of(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a", most_mode=0o600) as temporary:
        temporary.write_text("private")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(mode)
    write_text(tmp_path / "a", "new", force=True)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_a_row_of_a_table_takes_what_stands_in_it() -> None:
    # Filled up to the columns, 300 kB of rows would take 40 GB.
    names, rows = parse_csv(b"file,identity," + b",".join(b"c%d" % n for n in range(900)) + b"\na,b\n\nc\n")
    assert len(names) == 902
    assert rows == [{"file": "a", "identity": "b"}, {"file": "c"}]
    for data in (b",".join([b"c"] * 1001), b"\xff", b"a\n" + b"x" * 200_000):
        with pytest.raises(ValueError):  # noqa: PT011 (Python's own words)
            parse_csv(data)


def test_a_number_beyond_all_numbers_is_none() -> None:
    assert parse_json('{"a": 1.5, "b": 1e300}') == {"a": 1.5, "b": 1e300}
    for text in ("1e999", "-1e999", '{"a": [' + "1" * 400 + ".0]}"):
        with pytest.raises(ValueError, match="too large for a number"):
            parse_json(text)


def test_a_link_below_an_output_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "out").symlink_to("elsewhere")  # the user named it
    refuse_links(tmp_path / "out", tmp_path / "out" / "deep")
    refuse_links(tmp_path / "out", tmp_path / "out")
    (tmp_path / "elsewhere" / "sub").symlink_to("deep")
    for below in ("sub", "sub/further"):
        with pytest.raises(OutputError, match="sub is a link"):
            refuse_links(tmp_path / "out", tmp_path / "out" / below)


def test_toml_of_strangers_is_bounded() -> None:
    assert parse_toml(b'a.b = 1\nc = "...."\n') == {"a": {"b": 1}, "c": "...."}
    for text in (b"a." * 1000 + b"b = 1", b"a = " + b"[" * 5000, b"a = " + b"1" * 5000, b"\xff", b"a = "):
        with pytest.raises(ValueError):  # noqa: PT011 (also Python's own words)
            parse_toml(text)
