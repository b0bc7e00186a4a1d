"""`peft-advisor estimate`: peak memory and step time of any PEFT method on any GPU, without a GPU."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import click

from advisor.catalog.tasks import Head
from advisor.cli.memory_size import MemorySize
from advisor.cli.settings import parse_settings
from advisor.errors import InputError
from advisor.spec import Attention, OptimizerName, Quantization, Searched

_MOST_EXAMPLES, _HIGHEST_PRICE = 10**12, 1e6


@click.command(name="estimate")
@click.option(
    "--model", required=True, metavar="ID|DIR", help="Base model: catalogue or hub id, or a folder with a config.json."
)
@click.option(
    "--method", default="lora", show_default=True, metavar="METHOD", help="PEFT method, such as lora, qlora, ia3, full."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Hyperparameter of the method, such as r=16; repeatable.",
)
@click.option(
    "--adapter-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="adapter_config.json of any PEFT method, instead of --method.",
)
@click.option(
    "--head", type=click.Choice(get_args(Head)), help="Task head.  [default: the usual one of the architecture]"
)
@click.option("--labels", type=int, default=2, show_default=True, metavar="N", help="Classes of a classification head.")
@click.option("--batch-size", type=int, default=1, show_default=True, metavar="N", help="Sequences in memory at once.")
@click.option(
    "--seq-len",
    "--seq-length",
    type=int,
    metavar="N",
    help="Tokens of the longest sequence (source), all padded to it.  [default: 512, or what the model takes if less]",
)
@click.option(
    "--target-len",
    "--target-length",
    type=int,
    metavar="N",
    help="Tokens of the target of an encoder-decoder model.  [default: 128]",
)
@click.option("--accumulation", type=int, default=1, show_default=True, metavar="N", help="Passes per optimizer step.")
@click.option(
    "--pack",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Adapters trained side by side, each with its own batch.",
)
@click.option(
    "--precision",
    type=click.Choice(["bf16", "fp16", "fp32"]),
    help="Arithmetic.  [default: bf16, or fp16 on a GPU without it]",
)
@click.option(
    "--quantization",
    type=click.Choice(get_args(Quantization)),
    help="Storage of the frozen base: NF4 with double quantization, or LLM.int8.  [default: not quantized]",
)
@click.option(
    "--optimizer",
    type=click.Choice(get_args(OptimizerName)),
    default="adamw",
    show_default=True,
    help="Its state takes memory: twice the trained parameters for adamw.",
)
@click.option("--gradient-checkpointing", is_flag=True, help="Compute layers anew in the backward pass.")
@click.option(
    "--attention",
    type=click.Choice(get_args(Attention)),
    default="sdpa",
    show_default=True,
    help="How it is computed; eager keeps a score for every two tokens.",
)
@click.option(
    "--autocast", is_flag=True, help="Forward pass under torch.autocast, as `tune` and the Trainer's bf16=True do."
)
@click.option(
    "--drop-outputs",
    is_flag=True,
    help="The loop drops the model's outputs before the backward pass, as `tune` and the Trainer do.",
)
@click.option("--gpu", metavar="NAME", help='GPU of the catalogue, such as "RTX 3090": memory, and time.')
@click.option("--vram", type=MemorySize(), metavar="GIB", help="Memory of the GPU in GiB, such as 24.")
@click.option(
    "--evaluate", "eval_batch", type=int, metavar="N", help="Look at evaluation with N sequences at once as well."
)
@click.option(
    "--new-tokens",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="With --evaluate: generate N tokens with a cache of keys and values.",
)
@click.option("--examples", type=int, metavar="N", help="Examples of the training split, for the time of an epoch.")
@click.option(
    "--price-per-hour",
    type=float,
    metavar="PRICE",
    help="Price of an hour of the GPU, in any currency, for the cost of an epoch.",
)
@click.option(
    "--max", "searched", type=click.Choice(get_args(Searched)), help="Find the largest value of it that fits."
)
@click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
def command(**options: Any) -> None:
    """Estimate peak memory and step time of a training step, without a GPU.

    The real transformers and PEFT code runs on PyTorch's meta device: any model config, any PEFT method, no weights
    and no data. With --gpu or --vram it says whether the step fits, and with --max how much of it would.

    \b
    Example: peft-advisor estimate --model microsoft/codebert-base --batch-size 8 --gpu T4
    """
    values = parse_settings(options["settings"])
    _check_epoch(options["examples"], options["price_per_hour"], options["gpu"])
    from advisor.cli.estimate_view import as_json, render
    from advisor.dryrun.api import estimate  # torch and transformers: loaded after what can be refused without them

    with warnings.catch_warnings(), _few_collections():
        warnings.simplefilter("ignore")  # of libraries, while they are imported
        found = estimate(
            options["model"], options["method"], values, options["adapter_config"], gpu=options["gpu"],
            vram_gib=options["vram"], batch_size=options["batch_size"], seq_length=options["seq_len"],
            target_length=options["target_len"], head=options["head"], n_labels=options["labels"],
            precision=options["precision"], quantization=options["quantization"], optimizer=options["optimizer"],
            gradient_checkpointing=options["gradient_checkpointing"], attention=options["attention"],
            accumulation=options["accumulation"], pack_size=options["pack"], autocast=options["autocast"],
            holds_outputs=not options["drop_outputs"], eval_batch_size=options["eval_batch"],
            new_tokens=options["new_tokens"], largest=options["searched"],
        )  # fmt: skip
    show = as_json if options["json_"] else render
    click.echo(show(found, examples=options["examples"], price_per_hour=options["price_per_hour"]))


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for garbage seldom: imports leave a million objects to walk through, a tenth of the command's time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _check_epoch(examples: int | None, price_per_hour: float | None, gpu: str | None) -> None:
    if examples is not None and not 1 <= examples <= _MOST_EXAMPLES:
        raise InputError(f"--examples: {examples} is not between 1 and {_MOST_EXAMPLES}")
    if examples is not None and gpu is None:
        raise InputError("--examples needs --gpu: the time of a step depends on it")
    if price_per_hour is not None and not 0 <= price_per_hour < _HIGHEST_PRICE:
        raise InputError(f"--price-per-hour: {price_per_hour:g} is not a price")
    if price_per_hour is not None and examples is None:
        raise InputError("--price-per-hour needs --examples: the cost is that of an epoch")
