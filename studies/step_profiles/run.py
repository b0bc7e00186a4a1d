"""Make `knowledge/step_profiles.jsonl`: closed forms of memory and work for the catalogue's models.

    python -m studies.step_profiles.run --part 0 --parts 2 --work DIR     # as many processes as there are cores
    python -m studies.step_profiles.run --methods compacter,mam --work DIR   # some methods only
    python -m studies.step_profiles.run --collect --work DIR              # put them into the knowledge file

What is profiled is the step that `tune` runs: autocast in 16 bits, fused AdamW, the model's outputs dropped before the
backward pass. Each process appends to its own file in DIR and skips what is there already, so it can be stopped at any
time. The most used configurations of all models come first.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from advisor.catalog.base_models import BaseModel, all_base_models
from advisor.catalog.methods import METHODS, WITHOUT_STEP_PROFILES, restrictions
from advisor.catalog.tasks import Head
from advisor.dryrun.adapters import adapter_of_method
from advisor.dryrun.depth import UnevenStackError
from advisor.dryrun.peaks import peaks_of
from advisor.dryrun.profile import Configuration, overhead_of, profile_of, workload_at
from advisor.dryrun.step import run_step
from advisor.dryrun.workload import Workload
from advisor.feasibility.profiles import FILE_NAME, SAME_STEP_AS, SIZE_OF, Point, StepProfile, key_of, line_of, size_at
from advisor.modeling.meta import read_model_source
from advisor.spec import Precision, Quantization

KNOWLEDGE = Path(__file__).parents[2] / "knowledge"
SIZES = {
    "r": (4, 16, 64), "num_virtual_tokens": (10, 20, 100), "init_r": (6, 12, 24), "reduction_factor": (2, 8, 32),
}  # fmt: skip
# Parts that are outside of the layers and grow with their number, or layers that differ from each other.
BUILT_IN_FULL = {"prefix-tuning", "mam", "layer-freezing"}
NOT_PROFILED = {"remote-code"}
LEAST_PARAMS_TO_QUANTIZE = 400_000_000
LARGEST_FULL = 16_000_000_000
LARGEST_CLASSIFIER = 9_000_000_000
LONGEST = 2048  # tokens
WORST_ERROR = 0.005  # of the extrapolation in depth, else the model is built in full


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One profile to make; the lower the rank the earlier."""

    rank: int
    model: BaseModel
    head: Head
    method: str
    precision: Precision
    quantization: Quantization | None = None
    gradient_checkpointing: bool = False

    @property
    def key(self) -> str:
        """As in the knowledge file."""
        return key_of(
            self.model.hf_id, self.head, self.method, self.precision, self.quantization, self.gradient_checkpointing
        )


def main() -> int:
    """Make the profiles of one part, or collect those of all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True, help="folder for the parts")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after that long")
    parser.add_argument("--methods", help="names of methods with commas between; all without it")
    parser.add_argument("--collect", action="store_true")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.collect:
        return collect(arguments.work)
    deadline = time.monotonic() + 60 * arguments.minutes
    path = arguments.work / f"part{arguments.part}.jsonl"
    done = {json.loads(line)["key"] for line in path.read_text().splitlines()} if path.exists() else set()
    maker = Maker()
    methods = set(arguments.methods.split(",")) if arguments.methods else set(METHODS)
    models = sorted({one.model.hf_id for one in wanted()})
    mine = set(models[arguments.part :: arguments.parts])
    with path.open("a") as file:
        for one in sorted(wanted(), key=lambda one: (one.rank, one.model.params)):
            if one.model.hf_id not in mine or one.key in done or one.method not in methods:
                continue
            if time.monotonic() > deadline:
                return 0
            print(one.key, maker.make(one, file), flush=True)
    return 0


def wanted() -> Iterator[Wanted]:
    """Yield every profile that `recommend` can make use of."""
    for model in all_base_models():
        if NOT_PROFILED.intersection(model.traits):
            continue
        if model.architecture == "decoder-only":
            yield from _decoder(model)
        elif model.architecture == "encoder-only":
            yield from _small(model, "sequence-classification")
        else:
            yield from _small(model, "seq2seq-lm")
            yield from _small(model, "sequence-classification")


def _decoder(model: BaseModel) -> Iterator[Wanted]:
    quantizable = model.params >= LEAST_PARAMS_TO_QUANTIZE
    ranks = {"lora": 0, "ia3": 3, "dora": 4, "prompt-tuning": 5, "full": 6, "prefix-tuning": 7, "bitfit": 8}
    for method in METHODS:
        rank = ranks.get(method, 9)
        if not is_ranked(method, model):
            continue
        if "mixture-of-experts" in model.traits and (
            method not in ("lora", "ia3") or restrictions(method, model.model_type) is None
        ):
            continue
        if method in SAME_STEP_AS or (method == "full" and model.params > LARGEST_FULL):
            continue
        one = {"model": model, "head": "causal-lm", "method": method, "precision": "bf16"}
        yield Wanted(**one, rank=rank)
        stored = METHODS[method].works_quantized and quantizable and method != "prefix-tuning"
        if stored:
            yield Wanted(**one, rank=rank + 1, quantization="4bit")
        if method in ("lora", "dora", "ia3", "full"):
            yield Wanted(**one, rank=rank + 2, gradient_checkpointing=True)
            if stored:
                yield Wanted(**one, rank=rank + 2, quantization="4bit", gradient_checkpointing=True)
        if method in ("lora", "dora", "ia3") and model.params <= LARGEST_CLASSIFIER:
            one["head"] = "sequence-classification"
            yield Wanted(**one, rank=rank + 2)
            if method == "lora" and stored:
                yield Wanted(**one, rank=rank + 3, quantization="4bit")


def _small(model: BaseModel, head: Head) -> Iterator[Wanted]:
    for method, about in METHODS.items():
        if method in SAME_STEP_AS or not about.supports(model.architecture, head) or not is_ranked(method, model):
            continue
        later = 3 if model.architecture == "encoder-decoder" and method != "lora" else 0
        for rank, precision in ((1 + later, "bf16"), (10 + later, "fp32")):
            one = {"model": model, "head": head, "method": method, "precision": precision}
            yield Wanted(**one, rank=rank)
            if method in ("lora", "full") and head == "seq2seq-lm" and precision == "bf16":
                yield Wanted(**one, rank=rank + 2, gradient_checkpointing=True)


def is_ranked(method: str, model: BaseModel) -> bool:
    """Does `recommend` consider a method on a base model without being asked for it by name?"""
    asked = METHODS[method].on_request and method not in WITHOUT_STEP_PROFILES
    return not asked and METHODS[method].works_on(model.model_type)


class Maker:
    """Makes profiles; remembers what methods of one model share."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._overheads: dict[tuple[object, ...], float] = {}
        self._uneven: dict[tuple[str, str], bool] = {}

    def make(self, one: Wanted, file: object) -> str:
        """Make one profile and append it, or say why it cannot be made."""
        begun = time.perf_counter()
        try:
            profile = self._profile(one)
        except Exception as error:  # a model that cannot be built must not cost the rest
            line = json.dumps(
                {"key": one.key, "skipped": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
            )
        else:
            line = line_of(profile)
        print(line, file=file, flush=True)  # type: ignore[call-overload]
        return f"{time.perf_counter() - begun:.1f} s" + (" skipped" if '"skipped"' in line else "")

    def _profile(self, one: Wanted) -> StepProfile:
        name = (one.model.hf_id, one.head)
        in_full = one.method in BUILT_IN_FULL or self._uneven.get(name, False)
        group = (*name, one.precision, one.quantization, one.gradient_checkpointing, one.method == "full")
        if group not in self._overheads:
            self._overheads[group] = overhead_of(configuration_of(one, in_full=in_full))
        overhead = self._overheads[group]
        if in_full:
            return profile_of(configuration_of(one, in_full=True), one.model.hf_id, overhead)
        try:
            profile = profile_of(configuration_of(one, in_full=False), one.model.hf_id, overhead)
            if name not in self._uneven:
                self._uneven[name] = not is_exact(profile, configuration_of(one, in_full=False))
        except UnevenStackError:
            self._uneven[name] = True
        return profile if not self._uneven[name] else self._profile(one)


def is_exact(profile: StepProfile, configuration: Configuration) -> bool:
    """Compare one point with the model built in full."""
    target = 64 if configuration.workload.head == "seq2seq-lm" else 0
    size = configuration.sizes[0] if configuration.sizes else 0
    point = Point(batch_size=3, source_tokens=192, target_tokens=target, size=size)
    truth = peaks_of(run_step(workload_at(configuration, point), with_costs=False)).requested_bytes
    return abs(profile.at(point).requested_bytes / truth - 1) <= WORST_ERROR


def configuration_of(one: Wanted, *, in_full: bool) -> Configuration:
    """Return what to dry-run for a profile."""
    source, method = read_model_source(one.model.hf_id), METHODS[one.method]
    name = SIZE_OF.get(one.method)
    values = [{name: value} for value in SIZES[name]] if name else []
    adapters = tuple(adapter_of_method(source, one.head, method, value) for value in values or [{}])
    sizes = tuple(size_at(one.method, value, one.model.shape) for value in values)
    workload = Workload(
        source=source, head=one.head, peft_config=adapters[0], precision=one.precision, quantization=one.quantization,
        autocast=one.precision != "fp32", optimizer="adamw-fused", holds_outputs=False,
        gradient_checkpointing=one.gradient_checkpointing, target_length=64 if one.head == "seq2seq-lm" else 0,
    )  # fmt: skip
    longest = min(LONGEST, source.position_limit or LONGEST)
    return Configuration(
        workload=workload, method=one.method, sizes=sizes, adapters=adapters, max_length=longest, in_full=in_full
    )


def collect(work: Path) -> int:
    """Put the profiles of all parts into the knowledge folder, and say what was skipped.

    What is there already stays unless it was made anew or nobody wants it any more.
    """
    known = {one.key for one in wanted()}
    reasons = Path(__file__).parent / "results" / "skipped.tsv"
    lines = {json.loads(line)["key"]: line for line in (KNOWLEDGE / FILE_NAME).read_text().splitlines()}
    skipped = dict(line.split("\t", 1) for line in reasons.read_text().splitlines())
    for path in sorted(work.glob("part*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            here, there = (skipped, lines) if "skipped" in row else (lines, skipped)
            here[row["key"]] = row.get("skipped", line)
            there.pop(row["key"], None)
    dropped = [key for key in lines if key not in known]
    kept = {key: lines[key] for key in sorted(known & set(lines))}
    (KNOWLEDGE / FILE_NAME).write_text("".join(f"{line}\n" for line in kept.values()))
    reasons.write_text("".join(f"{key}\t{skipped[key]}\n" for key in sorted(known & set(skipped))))
    print(f"{len(kept)} profiles, {len(known & set(skipped))} skipped, {len(dropped)} dropped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
