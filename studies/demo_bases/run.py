"""Pretrain the three demonstration base models on the standard library's source.

Run from the repository root: `python -m studies.demo_bases.run --output advisor/demo/bases`.
"""

import argparse
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from studies.demo_bases.batches import Batch, causal_batches, masked_batches, span_batches
from studies.demo_bases.corpus import Corpus, read_corpus
from studies.demo_bases.models import build_model, save_base_model
from studies.demo_bases.pairs import make_function_pairs
from studies.demo_bases.tokenizer import frame_for, train_tokenizer
from studies.demo_bases.training import train

FOLDER = Path(__file__).parent
ARCHITECTURES = ("decoder", "encoder-decoder", "encoder")
_CONTINUED_SEED_OFFSET = 100
_SMOKE_SIZE = {"hidden": 32, "heads": 2, "feed_forward": 64, "layers": 1, "decoder_layers": 1}


def main() -> None:
    """Read the options, train what was asked for, write models and a result file."""
    options = _parser().parse_args()
    params = json.loads((FOLDER / "params.json").read_text(encoding="utf-8"))
    device = options.device if options.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    output = options.output or Path(tempfile.mkdtemp(prefix="demo_bases_"))
    corpus = read_corpus(valid_percent=params["valid_percent"])
    if options.smoke:
        corpus = _shortened(corpus)
    tokenizer = train_tokenizer(corpus.train_texts, vocab_size=1024 if options.smoke else params["vocab_size"])
    results = {
        architecture: _pretrain(architecture, corpus, tokenizer, params, options, device=device, output=output)
        for architecture in ([options.only] if options.only else ARCHITECTURES)
    }
    if not options.smoke:
        _write_results(results, params, device=device)
    print(json.dumps({"output": str(output), "models": results}, indent=2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=ARCHITECTURES, help="train one of the three")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--steps", type=int, help="steps per model (default: params.json)")
    parser.add_argument("--minutes", type=float, default=30.0, help="cap on wall time per model")
    parser.add_argument("--smoke", action="store_true", help="a few steps of tiny models, as a check")
    parser.add_argument("--start-from", type=Path, help="folder with the models of an earlier run, to go on from")
    parser.add_argument("--output", type=Path, help="folder for the models (default: a temporary one)")
    return parser


def _pretrain(
    architecture: str,
    corpus: Corpus,
    tokenizer: Tokenizer,
    params: dict[str, Any],
    options: argparse.Namespace,
    *,
    device: str,
    output: Path,
) -> dict[str, object]:
    recipe = params["models"][architecture]
    torch.manual_seed(params["seed"])
    framed = frame_for(tokenizer, architecture)
    model = build_model(architecture, size=_SMOKE_SIZE if options.smoke else recipe["size"], tokenizer=framed)
    seed = params["seed"]
    if options.start_from is not None:
        _check_same_vocabulary(framed, options.start_from / architecture)
        model = type(model).from_pretrained(options.start_from / architecture)
        # Another order of the text than the one that the earlier run began with.
        seed += _CONTINUED_SEED_OFFSET
    folder = output / architecture
    n_steps = options.steps or (10 if options.smoke else recipe[f"n_steps_{device}"])
    n_valid = 2 if options.smoke else params["n_valid_batches"]
    valid = _batches(architecture, corpus, tokenizer, recipe, seed=params["seed"] + 1, held_out=True)
    outcome = train(
        model,
        _batches(architecture, corpus, tokenizer, recipe, seed=seed, held_out=False),
        list(islice(valid, n_valid)),
        n_steps=n_steps,
        max_minutes=options.minutes,
        learning_rate=recipe["learning_rate"],
        embedding_learning_rate=recipe["embedding_learning_rate"],
        device=device,
        save=lambda: save_base_model(model, framed, folder),
        save_every_s=params["save_every_s"],
        log=lambda line: print(f"{architecture}: {line}", file=sys.stderr, flush=True),
    )
    save_base_model(model, framed, folder)
    size_bytes = sum(path.stat().st_size for path in folder.iterdir())
    facts = {"n_parameters": model.num_parameters(), "folder_bytes": size_bytes}
    return {**facts, "continued": options.start_from is not None, **asdict(outcome)}


def _check_same_vocabulary(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    if AutoTokenizer.from_pretrained(folder).get_vocab() != tokenizer.get_vocab():
        raise SystemExit(f"{folder} has another vocabulary: it was made from another standard library")


def _batches(
    architecture: str, corpus: Corpus, tokenizer: Tokenizer, recipe: dict[str, Any], *, seed: int, held_out: bool
) -> Iterator[Batch]:
    texts = corpus.valid_texts if held_out else corpus.train_texts
    functions = corpus.valid_functions if held_out else corpus.train_functions
    rng = random.Random(seed)
    rows, length = recipe["rows"], recipe["length"]
    if architecture == "decoder":
        return causal_batches(texts, functions, tokenizer, rows=rows, length=length, rng=rng)
    if architecture == "encoder-decoder":
        share = recipe["docstring_share"]
        return span_batches(texts, functions, tokenizer, rows=rows, length=length, docstring_share=share, rng=rng)
    pairs = make_function_pairs(functions, n_rewrites=1 if held_out else recipe["n_rewrites"], rng=rng)
    return masked_batches(texts, pairs, tokenizer, rows=rows, length=length, pair_share=recipe["pair_share"], rng=rng)


def _shortened(corpus: Corpus) -> Corpus:
    return Corpus(
        train_texts=corpus.train_texts[:40],
        valid_texts=corpus.valid_texts[:10],
        train_functions=corpus.train_functions[:300],
        valid_functions=corpus.valid_functions[:100],
    )


def _write_results(results: dict[str, dict[str, object]], params: dict[str, Any], *, device: str) -> None:
    now = datetime.now(UTC)
    machine = {
        "device": torch.cuda.get_device_name() if device == "cuda" else _cpu_model(),
        "n_threads": torch.get_num_threads(),
    }
    record = {
        "schema_version": 1,
        "finished_at": now.isoformat(timespec="seconds"),
        "machine": machine,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "params": {**params, "models": {name: params["models"][name] for name in results}},
        "models": results,
    }
    folder = FOLDER / "results"
    folder.mkdir(exist_ok=True)
    continued = ["continued"] if any(result["continued"] for result in results.values()) else []
    only = [next(iter(results))] if len(results) == 1 else []
    name = "-".join([now.strftime("%Y-%m-%d"), device, *only, *continued])
    path = folder / f"{name}.json"
    number = 1
    while path.exists():  # a result is never overwritten
        number += 1
        path = folder / f"{name}-{number}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s in all", file=sys.stderr)
