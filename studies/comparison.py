"""The published runs of PEFT's own method comparison, as studies of memory and time read them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from peft import PeftConfig

from advisor.dryrun.peft_methods import config_from_dict
from advisor.dryrun.workload import Workload
from advisor.modeling.meta import read_model_source

COMPARISON = Path(__file__).parents[1] / "knowledge" / "peft_method_comparison.csv"


def adapter_of_row(row: Any) -> PeftConfig | None:
    """Return the adapter of a published run, None for full fine-tuning."""
    if row.peft_type == "FULL":
        return None
    settings = json.loads(row.adapter_config)
    settings |= {"inference_mode": False, "peft_type": row.peft_type}
    settings.pop("rank_pattern", None)  # AdaLoRA's ranks at the end of training; memory is highest before
    settings["task_type"] = settings.get("task_type") or "CAUSAL_LM"
    return config_from_dict(settings, source=str(row.experiment))


def workload_of_row(row: Any, length: int) -> Workload:
    """Return the training step of a published run.

    Args:
        row: Of the table.
        length: Tokens that all sequences are padded to, which is not published.

    Raises:
        AdvisorError: The library refuses its model or adapter.
    """
    return Workload(
        source=read_model_source(row.base_model), head="causal-lm", peft_config=adapter_of_row(row),
        batch_size=int(row.batch_size), seq_length=length, gradient_checkpointing=bool(row.use_gc),
        autocast=bool(row.use_amp),
    )  # fmt: skip


def signed_errors(rows: Sequence[Mapping[str, Any]], estimated: str, measured: str) -> list[float]:
    """Return the errors of estimates in percent, positive where too high."""
    return [100 * (row[estimated] / row[measured] - 1) for row in rows]


def summary(errors: Sequence[float]) -> dict[str, float]:
    """Return mean absolute, median absolute, largest absolute, mean signed and lowest error."""
    absolute = [abs(error) for error in errors]
    return {
        "mean": mean(absolute), "median": median(absolute), "largest": max(absolute), "signed": mean(errors),
        "lowest": min(errors),
    }  # fmt: skip
