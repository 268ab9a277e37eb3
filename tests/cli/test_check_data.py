"""The report on a folder of images."""

import pytest

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
