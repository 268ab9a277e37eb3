"""Runs the examples of docstrings; checks the calls of those that cannot run.

Examples with `>>>` run, some on every backend. Those in fenced blocks need
data, a network or much time: their names must exist and their arguments fit.
"""

import ast
import doctest
import importlib
import inspect
import os
import pathlib
import pkgutil
import re
import tempfile

import keras
import numpy as np
import pytest

import keras_clmae
from tests.once import ONCE

pytestmark = pytest.mark.usefixtures("untraced")

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


# Examples of what each backend does in its own way. The others run once: the
# tests of their subjects run on every backend where that matters.
BY_BACKEND = {"distribution", "kernels", "optimizers", "trainers"}


def with_mark(name):
    package = name.split(".")[1]
    return name if package in BY_BACKEND else pytest.param(name, marks=ONCE)


class SameText(doctest.OutputChecker):
    """Takes `(2, 3)`, `TensorShape([2, 3])` and `torch.Size([2, 3])` as one."""

    def check_output(self, want, got, optionflags):
        got = re.sub(r"(?:torch\.Size|TensorShape)\(\[(.*?)\]\)", r"(\1)", got)
        return super().check_output(want, got, optionflags)


@pytest.mark.parametrize("name", [with_mark(name) for name in MODULES])
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


def is_example(text):
    return ">>> " in text or "```python" in text


def called(node):
    """The object that a call in an example names, or `None`."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id != "keras_clmae":
        return None
    found = keras_clmae
    for name in reversed(names):
        found = getattr(found, name)
    return found


@ONCE
def test_fenced_examples_call_what_there_is():
    checked = 0
    for name in MODULES:
        source = inspect.getsource(importlib.import_module(name))
        for block in re.findall(r"```python\n(.*?)```", source, re.DOTALL):
            for node in ast.walk(ast.parse(inspect.cleandoc("\n" + block))):
                if not isinstance(node, ast.Call):
                    continue
                function = called(node.func)
                if function is not None:
                    named = {k.arg: k.value for k in node.keywords if k.arg}
                    signature = inspect.signature(function)
                    # `**settings` may hold whatever is missing.
                    whole = len(named) == len(node.keywords)
                    bind = signature.bind if whole else signature.bind_partial
                    bind(*node.args, **named)
                    checked += 1
    assert checked > 15


# What nobody calls: tuples with names, an error, and bases of classes.
WITHOUT_EXAMPLE = {
    "ExperimentLogger",
    "BaseCLMAETrainer",
    "BaseMAETrainer",
    "DistributionPlan",
    "DrawnMasker",
    "Gallery",
    "ImageTransform",
    "LaunchedProcess",
    "PresetModel",
    "RemovedErrors",
    "Report",
    "TokenSelection",
    "TrainingInterrupted",
    "TrainingPosition",
}


@ONCE
def test_every_public_name_has_an_example():
    pages = pathlib.Path(__file__).parents[1] / "docs" / "api"
    without = set()
    for page in pages.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for module, name in re.findall(r"^::: (\S+)\.(\w+)$", text, re.M):
            found = getattr(importlib.import_module(module), name)
            if callable(found) and not is_example(inspect.getdoc(found) or ""):
                without.add(name)
    assert without == WITHOUT_EXAMPLE
