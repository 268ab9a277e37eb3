"""Time training steps on every backend, and those of other code."""

import os
from pathlib import Path
from typing import Literal

from benchmark_contestants import SIZES
from benchmark_contestants import Contestant
from benchmark_step_table import describe_fastest
from benchmark_step_table import describe_load
from benchmark_step_table import installed_backends
from benchmark_step_table import read_processor
from benchmark_step_table import table_of
from benchmark_step_table import write_results
from benchmark_turns import compare
from rich.console import Console

# Of CL-MAE and MAE.
SHARED_VARIANTS = ("exact", "compiled", "checkpointed")
Precision = Literal["float32", "bfloat16"]


def step(
    sizes: tuple[str, ...] = (
        "tiny_patch4_32",
        "small_patch16_96",
        "base_patch16_224",
    ),
    methods: tuple[Literal["clmae", "mae"], ...] = ("clmae", "mae"),
    backends: tuple[str, ...] | None = None,
    batch_sizes: tuple[int, ...] | None = None,
    variants: tuple[str, ...] = ("exact",),
    rounds: int = 7,
    reference: str | None = None,
    reference_variants: tuple[Literal["exact", "vectorized"], ...] = ("exact",),
    peer: Literal["huggingface"] | None = None,
    device: Literal["cpu", "gpu"] = "cpu",
    precision: Precision | tuple[Precision, ...] = ("float32",),
    quick: bool = False,
    output: str = "step.json",
) -> None:
    """Times training steps, every contestant in turn in every round.

    Each contestant lives in a process of its own. In a round each runs for
    about two seconds, one after the other, so that a machine that slows down
    slows down all of them; ratios are medians over rounds.

    Args:
        sizes: Of tiny_patch4_32, small_patch16_96, base_patch16_224 and
            large_patch16_224.
        methods: clmae, mae, or both.
        backends: Defaults to every backend that is installed.
        batch_sizes: Images in a step, each timed. Defaults to 64, 32, 8 and 4
            for the four sizes.
        variants: exact, compiled (jit_compile=True), checkpointed
            (gradient_checkpointing); of CL-MAE also period=K
            (masking_update_period) and simultaneous.
        rounds: How often each is timed, at least 5.
        reference: A clone of the published CL-MAE code, to be timed too.
        reference_variants: vectorized replaces its loop over pairs of images.
        peer: huggingface times transformers' ViTMAEForPreTraining beside MAE.
        device: cpu or gpu, as the backends see it.
        precision: bfloat16 is mixed precision; autocast in the others' code.
            Several are put in one table; ratios are to the first.
        quick: Tells in a few minutes which backend and precision is fastest
            here, in its last line, by a model of the width of ViT-Ti/4 and few
            layers. Options about sizes, methods, variants and rounds are not
            read.
        output: JSON file of the results.
    """
    precisions = (precision,) if isinstance(precision, str) else precision
    if quick:
        sizes, methods, batch_sizes = (
            ("few_layers_patch4_32",),
            ("clmae",),
            None,
        )
        variants, rounds, precisions = ("exact",), 3, ("float32", "bfloat16")
    _check(sizes, rounds if not quick else 5)
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.environ["JAX_PLATFORMS"] = "cpu"
    # XLA would otherwise take most of the memory for the first process.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    console = Console()
    name, units = read_processor()
    console.print(f"{name}: {', '.join(units) or 'units are not known'}")
    if (load := describe_load()) is not None:
        console.print(load)
    results = []
    for size in sizes:
        for method in methods:
            for batch_size in batch_sizes or (SIZES[size][2],):
                contestants = [
                    contestant
                    for each in precisions
                    for contestant in _contestants(
                        backends or installed_backends(),
                        variants,
                        Path(reference).resolve() if reference else None,
                        reference_variants,
                        peer,
                        method=method,
                        size=size,
                        batch_size=batch_size,
                        precision=each,
                        device=device,
                    )
                ]
                rows = compare(contestants, rounds, console, not quick)
                console.print(table_of(rows))
                results += rows
                write_results(output, results)
    console.print(f"Results: {output}")
    if quick and results:
        console.print(describe_fastest(results), soft_wrap=True)


def _check(sizes, rounds):
    if rounds < 5:
        raise ValueError(f"`rounds` must be at least 5. Received: {rounds}")
    unknown = set(sizes) - set(SIZES)
    if unknown:
        raise ValueError(
            f"`sizes` must be of {', '.join(SIZES)}. "
            f"Received: {', '.join(sorted(unknown))}"
        )


def _contestants(
    backends, variants, reference, reference_variants, peer, **shared
):
    """Lists who is timed of one size, method, batch and precision."""
    method = shared["method"]
    contestants = [
        Contestant("keras_clmae", backend, variant=variant, **shared)
        for backend in backends
        for variant in variants
        if method == "clmae" or variant in SHARED_VARIANTS
        # JAX compiles in any case.
        if (backend, variant) != ("jax", "compiled")
    ]
    if reference and method == "clmae":
        contestants += [
            Contestant(
                "published",
                "torch",
                variant=variant,
                path=str(reference),
                **shared,
            )
            for variant in reference_variants
        ]
    if peer and method == "mae":
        contestants.append(Contestant(peer, "torch", **shared))
    return contestants
