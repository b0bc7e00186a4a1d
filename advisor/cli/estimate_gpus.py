"""How many GPUs a dry run's step needs that is too large for one."""

from typing import TYPE_CHECKING

from advisor.catalog.shapes import Shape, read_shape
from advisor.feasibility.memory import Step
from advisor.feasibility.spread import Spread, layered, n_gpus_needed, spread

if TYPE_CHECKING:
    from advisor.dryrun.answers import Answer


def spread_that_fits(answer: "Answer") -> Spread | None:
    """Return the step over the fewest GPUs of the kind that was named, each of which it fits.

    Returns:
        None where it fits on one, no device was named, evaluation is what is too large, the sizes of the model cannot
        be read, or no number of GPUs is enough.
    """
    run, workload = answer.run, answer.workload
    if run.usable_bytes is None or run.estimate.peak_memory_bytes <= run.usable_bytes:
        return None
    if answer.gpu is not None and answer.gpu.vendor == "apple":
        return None
    shape = _shape(answer)
    if shape is None:
        return None
    method = answer.question.method
    step = layered(
        run.estimate, shape, head=workload.head,
        step=Step(
            batch_size=workload.batch_size * workload.pack_size, source_tokens=workload.seq_length,
            target_tokens=workload.target_length,
        ),
        precision=workload.precision, quantization=workload.quantization, method=method.slug if method else None,
        hyperparameters=answer.question.hyperparameters, gradient_checkpointing=workload.gradient_checkpointing,
    )  # fmt: skip
    n = n_gpus_needed(step, run.usable_bytes)
    return None if n is None else spread(step, n)


def _shape(answer: "Answer") -> Shape | None:
    config = answer.workload.source.config
    try:
        return read_shape(config.model_type, config.to_dict())
    except (KeyError, ValueError):
        return None
