"""The report on a folder of images."""

import numpy as np
import pytest
from PIL import Image

from keras_clmae import cli
from tests.data.pictures import save_picture
from tests.once import ONCE

pytest.importorskip("jsonargparse")
pytestmark = ONCE


def test_report_and_exit_status(tmp_path, capsys):
    save_picture(tmp_path / "whole.jpg")
    cli.run(["check-data", str(tmp_path)])
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        cli.run(["check-data", f"folder:{tmp_path}", "--channels", "3"])
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert "empty.jpg" in printed and "it is empty" in printed
    with pytest.raises(SystemExit) as ended:
        cli.run(["check-data", str(tmp_path / "nowhere")])
    assert ended.value.code == 2


def test_images_of_16_bits(tmp_path, capsys):
    pixels = np.arange(64, dtype="uint16").reshape(8, 8) * 1000
    for ending in ("png", "tif"):
        Image.fromarray(pixels).save(tmp_path / f"whole.{ending}")
    cli.run(["check-data", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    found = dict(line.split("│")[1:3] for line in lines if "│" in line)
    found = {name.strip(): count.strip() for name, count in found.items()}
    assert found == {"images": "2", "channels": "1", "cannot be read": "0"}
    # Half of the bytes; and pixels whose white nobody knows.
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(pixels.astype("int32")).save(tmp_path / "wide.tif")
    with pytest.raises(SystemExit):
        cli.run(["check-data", str(tmp_path)])
    printed = " ".join(capsys.readouterr().out.split())
    assert "the PNG data is truncated or damaged" in printed
    assert "wide.tif': its pixels have 32 bits" in printed
