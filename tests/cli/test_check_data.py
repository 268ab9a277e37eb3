"""The report on a folder of pictures."""

import pathlib
import subprocess
import sys

from tests.data.pictures import save_picture
from tests.once import ONCE

pytestmark = ONCE

_SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "check_data.py"


def test_report_and_exit_status(tmp_path):
    save_picture(tmp_path / "whole.jpg")

    def check(*arguments):
        return subprocess.run(
            [sys.executable, _SCRIPT, tmp_path, *arguments],
            capture_output=True,
            text=True,
        )

    assert check().returncode == 0
    (tmp_path / "empty.jpg").write_bytes(b"")
    process = check("--channels", "3")
    assert process.returncode == 1
    assert "empty.jpg" in process.stdout and "it is empty" in process.stdout
