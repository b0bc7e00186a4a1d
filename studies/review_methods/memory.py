"""Memory of one training step: bytes of tensors that were alive in a real one, and what the dry run says of it."""

from pathlib import Path

from advisor import estimate
from advisor.candidates import Candidate
from advisor.feasibility.device import cublas_workspace_bytes
from advisor.modeling.attachment import attach_adapter
from advisor.training.inference import storages_of
from advisor.training.live_bytes import LiveBytes
from advisor.training.loop import Training
from advisor.training.resident import Resident

# The optimizer's state is there from the second step on.
_N_STEPS = 2


def measured_step(data: Resident, candidate: Candidate, saved: Path, *, seed: int) -> tuple[int, int, int]:
    """Train two steps on the longest rows and the shortest one, and estimate the same.

    Args:
        data: Base model and rows; the base model is as before afterwards.
        candidate: What to train.
        saved: Folder of its adapter after training; the estimate reads its configuration.
        seed: Of the adapter.

    Returns:
        Tokens of the longest row; most bytes alive in the real steps, weights included; the estimate.
    """
    attached = attach_adapter(data.lend(candidate), candidate, seed=seed)
    try:
        rows = sorted(data.rows("train", candidate, attached).rows, key=lambda row: -len(row.input_ids))
        # The shortest row among them makes padding, which most batches have and the dry run reckons with.
        rows = [*rows[: candidate.batch_size - 1], rows[-1]]
        training = Training(attached, rows, candidate, n_steps=_N_STEPS, seed=seed, data_seed=seed)
        held = {storage.data_ptr(): storage.nbytes() for storage in storages_of(attached.model)}
        with LiveBytes() as live:
            training.train_to(_N_STEPS)
        n_labels, head = len(data.label_names), attached.base.request.head
    finally:
        data.give_back(attached)
    tokens = len(rows[0].input_ids)
    is_full = candidate.method == "full"
    answer = estimate(
        candidate.base_model, **({"method": "full"} if is_full else {"adapter_config": saved}),
        batch_size=len(rows), seq_length=tokens, head=None if head == "embedding" else head, n_labels=max(2, n_labels),
        precision="fp32", quantization=candidate.quantization, optimizer="adamw-fused", holds_outputs=False,
    )  # fmt: skip
    # What libraries of a GPU take for themselves has no counterpart here.
    estimated = answer.estimate.peak_allocated_bytes - cublas_workspace_bytes(None)
    return tokens, sum(held.values()) + live.peak_bytes, estimated
