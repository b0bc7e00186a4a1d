"""Does the saved adapter give its metric when a fresh process loads it, with PEFT alone where PEFT has the method?"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from advisor.candidates import Candidate
from advisor.catalog.loaders import loaders_of, needs_own_tuners
from advisor.catalog.tasks import Task
from advisor.errors import ReloadCheckError
from advisor.metrics.registry import METRICS
from advisor.modeling.attachment import AttachedModel
from advisor.modeling.devices import precision_on
from advisor.result import ReloadCheck
from advisor.training.answers import label_set_text
from advisor.training.evaluation import LABEL_LOGIT, generation_settings, prediction_batches, prediction_inputs
from advisor.training.programs import measure_judged
from advisor.training.retrieval import ranks_of_answers
from advisor.training.runner import DeviceRunner
from advisor.training.thresholds import Predicted, scores_of
from advisor.trial import Split

SCRIPT = Path(__file__).with_name("reload_script.py")
_ROOT = Path(__file__).parents[2]  # the folder that the package is in
_VECTORS = "vectors.safetensors"
# On a CPU the same batches give the same numbers. A GPU may choose other kernels in another process, which can
# turn a near tie into another class or token: one percentage point is allowed there.
_TOLERANCE_CPU = 1e-6
_TOLERANCE_ACCELERATOR = 0.01


def reload_check(
    runner: DeviceRunner,
    task: Task,
    candidate: Candidate,
    adapter: Path,
    *,
    expected: Mapping[str, float],
    threshold: float | None = None,
    split: Split = "test",
) -> ReloadCheck:
    """Load a saved adapter in a fresh process that does not import this package, and compare its primary metric.

    For a method whose tuner is this package's, the other process imports the tuners.

    Args:
        runner: Has the data; no trial may be live. On an accelerator its base models are dropped first, so that
            the other process finds memory.
        task: Gives the metric.
        candidate: What was trained.
        adapter: Folder that `save` wrote.
        expected: Metrics that this process saw on the split, from `runner.evaluate`.
        threshold: What these metrics were measured with, see `Evaluation.threshold`.
        split: Split to predict.

    Raises:
        ReloadCheckError: The other process failed; the message is the last line that it wrote.
        AdvisorError: Base model or adapter cannot be loaded here either.
    """
    with tempfile.TemporaryDirectory(prefix="reload-check-") as folder:
        job = Path(folder) / "job.json"
        attached = runner.attach_saved(candidate, adapter, seed=0)
        try:
            _write_job(job, runner, task, candidate, adapter, attached, split, threshold)
            on_cpu = attached.base.device.type == "cpu"
        finally:
            runner.data.give_back(attached)
        if not on_cpu:
            runner.data.drop_base_models()
        _run(job, adapter, loaders_of(candidate.method))
        said = _predicted(job, runner, task, split)
    names, targets = runner.data.label_names, runner.data.expected(split)
    metric = task.primary_metric
    judge = runner.data.judge
    verdicts = None if judge is None else judge.verdicts(runner.data.examples(split), said.texts)
    found = measure_judged(task, [metric], targets, said.texts, verdicts, label_names=names, scores=said.scores)
    reloaded = found[metric]
    scale = METRICS[metric].high
    tolerance = _TOLERANCE_CPU if on_cpu else _TOLERANCE_ACCELERATOR * scale
    return ReloadCheck(
        passed=abs(reloaded - expected[metric]) <= tolerance,
        metric=metric,
        expected=expected[metric],
        reloaded=reloaded,
        tolerance=tolerance,
    )


def _write_job(
    path: Path,
    runner: DeviceRunner,
    task: Task,
    candidate: Candidate,
    adapter: Path,
    attached: AttachedModel,
    split: Split,
    threshold: float | None = None,
) -> None:
    base = attached.base
    batches = path.with_name("batches.jsonl")
    is_search = base.request.head == "embedding"
    read = runner.data.rows_to_embed if is_search else lambda *which: runner.data.rows(*which).rows
    rows = read(split, candidate, attached)
    with batches.open("w", encoding="utf-8") as file:
        for numbers, part in prediction_batches(attached, rows):
            inputs = {name: tensor.tolist() for name, tensor in prediction_inputs(attached, part).items()}
            if base.request.head in ("causal-lm", "seq2seq-lm"):
                inputs.pop("token_type_ids", None)
            file.write(json.dumps({"rows": numbers, "inputs": inputs}) + "\n")
    generation: dict[str, Any] | None = None
    if base.request.head in ("causal-lm", "seq2seq-lm"):
        generation = generation_settings(attached, task.max_target_length).to_dict()
    quantization = getattr(base.model.config, "quantization_config", None)
    job = {
        "adapter": str(adapter.absolute()),
        "is_full": candidate.method == "full",
        # Where the package is, for a method whose tuner is its own.
        "tuners": str(_ROOT) if needs_own_tuners(candidate.method) else None,
        "head": base.request.head,
        "n_labels": len(base.request.label_names),
        "is_encoder_of_two": is_search and base.request.architecture == "encoder-decoder",
        "is_multi_label": base.request.is_multi_label,
        "label_logit": LABEL_LOGIT,
        "threshold": threshold,
        "device": str(base.device),
        # Of a model that is spread over several devices, accelerate's own hooks run it there.
        "device_map": {name: str(place) for name, place in base.places.items()},
        "weights": base.request.weights,
        "precision": precision_on(base.device, candidate.precision),
        "quantization": quantization.to_dict() if quantization is not None else None,
        "generation": generation,
        "batches": str(batches),
        "output": str(path.with_name("output.jsonl")),
        "vectors": str(path.with_name(_VECTORS)),
    }
    path.write_text(json.dumps(job), encoding="utf-8")


def _run(job: Path, adapter: Path, loaders: str) -> None:
    # -P keeps the script's own folder and the working directory off the import path.
    command = [sys.executable, "-P", "-W", "ignore", str(SCRIPT), str(job)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ReloadCheckError(f"{adapter}: {loaders} could not load it in a fresh process ({said[-1][:300]})")


def _predicted(job: Path, runner: DeviceRunner, task: Task, split: Split) -> Predicted:
    """Return what the other process said for each example, as this package would say it."""
    if task.form == "retrieval":
        vectors = load_file(job.with_name(_VECTORS))["vectors"].numpy()
        return Predicted(texts=ranks_of_answers(vectors, runner.data.search(split).relevant))
    lines = _read_output(job.with_name("output.jsonl"))
    logits = [line["logits"] for line in lines if "logits" in line]
    return Predicted(
        texts=[_answer(line["predicted"], runner.data.label_names) for line in lines],
        scores=scores_of(np.array(logits), is_multi_label=task.form == "multi-label") if logits else None,
    )


def _read_output(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return sorted(found, key=lambda item: int(item["row"]))


def _answer(predicted: int | list[int] | str, names: Sequence[str]) -> str:
    """Return class ids as the text that this package would say."""
    if isinstance(predicted, list):
        return label_set_text(names[number] for number in predicted)
    return names[predicted] if isinstance(predicted, int) else predicted
