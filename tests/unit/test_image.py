"""The compiled program as data: kept, trusted only where root alone may write, and never in the way."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

import pytest

from probes.kernel import image
from probes.kernel.image import Image, MapImage, ProgramImage

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only what root owns is trusted")

LOAD_MAP = bytes([0x18, 0x11, 0, 0]) + (9).to_bytes(4, sys.byteorder) + bytes(8)
LOAD_NUMBER = bytes([0x18, 0x01, 0, 0]) + (9).to_bytes(4, sys.byteorder) + bytes(8)
EXIT = bytes([0x95, 0, 0, 0, 0, 0, 0, 0])
ONE = Image(
    (MapImage("tails", 3, 4, 4, 1, 0),),
    (ProgramImage("walk", 5, base64.b64encode(EXIT).decode(), ((0, "tails"),)),),
    ("walk",),
)


def test_only_references_to_maps_are_noted() -> None:
    program = image.of_program("walk", 5, EXIT + LOAD_NUMBER + LOAD_MAP, {9: "tails"})
    assert program.uses == ((24, "tails"),)
    assert base64.b64decode(program.code) == EXIT + LOAD_NUMBER + LOAD_MAP


def test_an_image_survives_json() -> None:
    assert image.from_json(json.loads(json.dumps(ONE))) == ONE


@as_root
def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    image.write("a", ONE, place)
    assert image.read("a", place) == ONE
    assert image.read("b", place) is None
    assert place.stat().st_mode & 0o777 == 0o700


@as_root
@pytest.mark.parametrize("what", ["directory", "file", "owner"])
def test_nothing_is_trusted_that_others_may_have_written(tmp_path: Path, what: str) -> None:
    place = tmp_path / "cache"
    image.write("a", ONE, place)
    if what == "owner":
        os.chown(place / "a", 65534, 65534)
    else:
        (place if what == "directory" else place / "a").chmod(0o777)
    assert image.read("a", place) is None


@as_root
@pytest.mark.parametrize("text", ["", "[1, 2, 3]", "{}", "[[], [[1]], []]", "\x00"])
def test_a_broken_file_is_no_image(tmp_path: Path, text: str) -> None:
    image.write("a", ONE, tmp_path)
    (tmp_path / "a").write_text(text)
    assert image.read("a", tmp_path) is None


@as_root
def test_few_images_are_kept_the_latest(tmp_path: Path) -> None:
    for number in range(12):
        image.write(str(number), ONE, tmp_path)
        os.utime(tmp_path / str(number), (number, number))
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(4, 12))


def test_where_nothing_can_be_kept_nothing_happens(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    image.write("a", ONE, tmp_path / "file")
    assert image.read("a", tmp_path / "file") is None


def test_another_source_has_another_key() -> None:
    assert image.key("a") != image.key("b")
