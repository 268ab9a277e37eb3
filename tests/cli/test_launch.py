"""The launch scripts: linted, and what they would start."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.once import ONCE

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"

pytestmark = ONCE


def dry_run(name, *arguments, expected=0, **environment):
    done = subprocess.run(
        ["bash", str(SCRIPTS / name), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "DRY_RUN": "1", **environment},
    )
    assert done.returncode == expected, done.stderr
    return done.stdout.strip() + done.stderr.strip()


def test_shell_linter():
    linter = shutil.which(
        "shellcheck", path=f"{sys.exec_prefix}/bin:{os.environ['PATH']}"
    )
    if linter is None:
        pytest.skip("needs shellcheck: pip install -e '.[lint]'")
    done = subprocess.run(
        [linter, "--severity=warning", *SCRIPTS.glob("*.sh")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_several_gpus():
    line = dry_run("launch_multi_gpu.sh", "--epochs=2", KERAS_BACKEND="jax")
    assert line.startswith("KERAS_BACKEND=jax python ")
    assert line.endswith("-m keras_clmae pretrain --epochs=2")
    line = dry_run("launch_multi_gpu.sh", KERAS_BACKEND="torch", DEVICES="8")
    assert "torchrun --standalone --nproc_per_node=8 -m keras_clmae" in line


def test_slurm(tmp_path):
    arguments = ("launch_slurm.sh", "--run_dir", str(tmp_path))
    line = dry_run(*arguments, "--epochs=2", SLURM_JOB_ID="40007")
    assert "MASTER_PORT=20007 srun --ntasks-per-node=1" in line
    assert line.endswith(f"--run_dir {tmp_path} --epochs=2")
    (tmp_path / "config.yaml").touch()
    line = dry_run(*arguments, KERAS_BACKEND="torch", SLURM_GPUS_ON_NODE="8")
    assert "--ntasks-per-node=8" in line
    assert line.endswith(f"--run_dir={tmp_path} --resume")
    assert "--run_dir must be given" in dry_run("launch_slurm.sh", expected=2)


def test_tpu_vm():
    line = dry_run("launch_tpu_vm.sh", "--a=b c", TPU_NAME="pod", ZONE="z")
    assert "ssh pod --zone=z --worker=all" in line
    assert "--multi_host=true" in line
    assert "must be the name" in dry_run("launch_tpu_vm.sh", expected=1)
