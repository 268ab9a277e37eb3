"""Runs the example of every public docstring."""

import doctest
import importlib
import os
import pkgutil
import re
import tempfile

import keras
import numpy as np
import pytest

import keras_clmae

# The trainers of the other backends cannot be imported here.
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(
        keras_clmae.__path__, prefix="keras_clmae."
    )
    if not (
        info.name.endswith(("_trainer", "_engine"))
        and keras.backend.backend() not in info.name
    )
)


class SameText(doctest.OutputChecker):
    """Takes `(2, 3)`, `TensorShape([2, 3])` and `torch.Size([2, 3])` as one."""

    def check_output(self, want, got, optionflags):
        got = re.sub(r"(?:torch\.Size|TensorShape)\(\[(.*?)\]\)", r"(\1)", got)
        return super().check_output(want, got, optionflags)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore")
def test_examples(name):
    module = importlib.import_module(name)
    names = {
        **vars(module),
        "keras": keras,
        "keras_clmae": keras_clmae,
        "np": np,
        "os": os,
        "tempfile": tempfile,
    }
    runner = doctest.DocTestRunner(
        checker=SameText(),
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )
    report = []
    for test in doctest.DocTestFinder().find(module, globs=names):
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
