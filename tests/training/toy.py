"""Small made-up examples, base models and candidates that the tests of training share."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from hypothesis import strategies as st

from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS as EVERY_METHOD
from advisor.catalog.methods import find_method
from advisor.catalog.tasks import Task, find_task, head_of
from advisor.data.examples import Example
from advisor.modeling.attachment import AttachedModel
from advisor.modeling.base import BaseModel, load_base_model, request_for
from advisor.spec import Architecture
from advisor.training.answers import class_names
from advisor.training.tokens import TokenizedSplit, Tokenizing, lengths_for
from advisor.trial import Prediction, Split
from tests.training.methods import SMALL

CLONES = find_task("clone-detection")
SUMMARIES = replace(find_task("code-summarization"), max_target_length=6)
COMMENTS = find_task("code-comment-classification")
SEARCHES = find_task("code-search")  # not among TASKS: its rows are compared with each other
TASKS = {task.slug: task for task in (CLONES, SUMMARIES, COMMENTS)}
ARCHITECTURES: tuple[Architecture, ...] = ("encoder-only", "decoder-only", "encoder-decoder")
# (task, architecture): every head on every architecture that can have it
SETTINGS: tuple[tuple[str, Architecture], ...] = (
    ("clone-detection", "encoder-only"),
    ("clone-detection", "decoder-only"),
    ("clone-detection", "encoder-decoder"),
    ("code-summarization", "decoder-only"),
    ("code-summarization", "encoder-decoder"),
    ("code-comment-classification", "encoder-only"),
)
METHODS = (
    "lora", "lora-plus", "rslora", "dora", "ia3", "prompt-tuning", "prefix-tuning", "p-tuning", "bitfit",
    "layernorm-tuning", "full",
)  # fmt: skip
# The others, each on every architecture once; what is made of trained adapters has tests of its own.
MORE_METHODS = tuple(slug for slug, one in EVERY_METHOD.items() if slug not in METHODS and not one.least_adapters)
MORE_SETTINGS: tuple[tuple[str, Architecture], ...] = (
    ("clone-detection", "encoder-only"),
    ("code-summarization", "encoder-decoder"),
    ("code-summarization", "decoder-only"),
)
# Combinations that cannot be trained, each with a word that its message must have.
UNSUPPORTED: dict[tuple[str, str, Architecture], str] = {
    (method, "clone-detection", "encoder-decoder"): "does not work on encoder-decoder"
    for method in ("prompt-tuning", "prefix-tuning", "p-tuning")
} | {
    ("bitfit", task, architecture): f"does not work on {kind} models: they have no biases"
    for task, architecture in SETTINGS
    for kind in {"encoder-decoder": ("t5",), "decoder-only": ("llama",)}.get(architecture, ())
}  # fmt: skip
SUPPORTED = tuple(
    (method, task, architecture)
    for task, architecture in SETTINGS
    for method in METHODS
    if (method, task, architecture) not in UNSUPPORTED
)
MORE_SUPPORTED = tuple(
    (method, task, architecture)
    for task, architecture in MORE_SETTINGS
    for method in MORE_METHODS
    if find_method(method).supports(architecture, head_of(find_task(task), architecture))
)
LABELS = ("0", "1", "2")
WORDS = ("return", "the", "sum", "of", "a", "list", "x .", "")
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
_NAMES = ("add", "sum", "print", "main", "range", "args", "length", "numbers")


def examples(task: Task, n: int, seed: int = 0) -> tuple[Example, ...]:
    """Make examples of different lengths.

    Labels alternate, and a positive pair is the same code under another name. Of the sets of labels some are empty, and
    one label looks like two.
    """
    rng = random.Random(seed)
    made = []
    for number in range(n):
        body = "\n".join(f"    x = {rng.choice(_NAMES)}(x, {rng.randrange(10)})" for _ in range(rng.randrange(1, 5)))
        code = f"def {rng.choice(_NAMES)}(x):\n{body}\n    return x"
        if task.form == "generation":
            target = f"Return the {rng.choice(_NAMES)} of the {rng.choice(_NAMES)}."
            made.append(Example(example_id=f"g{number}", text=code, text_pair=None, target=target))
        elif task.form == "retrieval":
            name, other = rng.choice(_NAMES), rng.randrange(10**6)
            query = f"the {name} of {rng.choice(_NAMES)} {other}"
            code = f"def {name}(x):\n    return {other}"
            made.append(Example(example_id=f"q{number}", text=query, text_pair=code, target="1"))
        elif task.form == "multi-label":
            labels = (*(["long, or not"] if number % 3 == 0 else []), *(["summary"] if number % 2 else []))
            made.append(
                Example(example_id=f"m{number}", text=code, text_pair=None, target=", ".join(labels), labels=labels)
            )
        else:
            other = code.replace("x", "y") if number % 2 else f"print({rng.randrange(99)})"
            made.append(Example(example_id=f"p{number}", text=code, text_pair=other, target=str(number % 2)))
    return tuple(made)


def splits(task: Task, *, train: int = 24, valid: int = 6, test: int = 12) -> dict[Split, tuple[Example, ...]]:
    """Make the three splits."""
    return {
        "train": examples(task, train, seed=1),
        "valid": examples(task, valid, seed=2),
        "test": examples(task, test, seed=3),
    }


def base_for(chosen: Candidate, task: Task) -> BaseModel:
    """Load the base model of a candidate."""
    cpu = torch.device("cpu")
    labels = class_names(task, examples(task, 4))
    return load_base_model(request_for(chosen, task, labels, cpu), cpu)


def tokenized(attached: AttachedModel, task: Task, split: Split = "train") -> TokenizedSplit:
    """Tokenize a toy split for a model, cut to 48 tokens."""
    base = attached.base
    tokenizing = Tokenizing(base.tokenizer, task, base.request.head, base.request.label_names)
    lengths = lengths_for(
        task,
        base.request.head,
        max_seq_length=48,
        max_positions=base.max_positions,
        virtual_tokens=attached.virtual_tokens,
        frame=tokenizing.frame,
    )
    return tokenizing.split(split, splits(task)[split], lengths)


def candidate(
    base_model: Path, architecture: Architecture, method: str = "lora", *, batch_size: int = 8, **changes: object
) -> Candidate:
    """Make a candidate with the catalogue's defaults, a larger learning rate, and `changes` to its hyperparameters."""
    hyperparameters: dict[str, object] = {
        **find_method(method).hyperparameters(architecture),
        **SMALL.get(method, {}),
        "learning_rate": 1e-2,
        **changes,
    }
    return Candidate(
        base_model=str(base_model),
        architecture=architecture,
        method=method,
        hyperparameters=hyperparameters,
        batch_size=batch_size,
        max_seq_length=48,
    )


def predictions(expected: Sequence[str], predicted: Sequence[str]) -> tuple[Prediction, ...]:
    """Make predictions out of what was expected and what came."""
    return tuple(
        Prediction(example_id=str(number), source="s", expected=truth, predicted=guess)
        for number, (truth, guess) in enumerate(zip(expected, predicted, strict=True))
    )
