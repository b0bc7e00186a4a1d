"""A space of three base models, one of them with other methods and another range, as several architectures give it."""

from dataclasses import replace

from advisor.candidates import Candidate
from advisor.search.settings import StudySettings
from advisor.search_space import BaseSpace, Dimension, MethodSpace, SearchSpace
from tests.search.fakes import candidate, settings, space

ENCODER, QUANTIZED, DECODER = "encoder", "encoder (4bit)", "decoder"


def on(label: str, method: str = "lora", learning_rate: float = 3e-4) -> Candidate:
    """Return a candidate on a base model of the space; each is trained in a way of its own."""
    changes: dict[str, dict[str, object]] = {
        ENCODER: {"base_model": "encoder"},
        QUANTIZED: {"base_model": "encoder", "quantization": "4bit", "precision": "bf16"},
        DECODER: {"base_model": "decoder", "architecture": "decoder-only", "micro_batch_size": 4},
    }
    return replace(candidate(method, learning_rate), **changes[label])  # type: ignore[arg-type]


def joint_space() -> SearchSpace:
    """Return LoRA and (IA)3 on the encoder, plain and quantized; on the decoder LoRA alone at lower rates."""
    both = space("lora", "ia3").methods
    rank = both[0].dimensions[1]
    lower = Dimension(name="learning_rate", kind="float", low=1e-6, high=1e-2, log=True)
    lora = MethodSpace(method="lora", dimensions=(lower, rank))
    return SearchSpace(
        methods=both,
        bases=(
            BaseSpace(label=ENCODER, recommended=on(ENCODER), methods=both),
            BaseSpace(label=QUANTIZED, recommended=on(QUANTIZED), methods=both),
            BaseSpace(label=DECODER, recommended=on(DECODER), methods=(lora,)),
        ),
    )


def joint_settings(**changes: object) -> StudySettings:
    """Return settings of a small study over these base models."""
    starts = (on(ENCODER), on(QUANTIZED), on(DECODER), on(ENCODER, "ia3", 1e-3))
    return settings(**{"base_model": "encoder", "space": joint_space(), "warm_starts": starts, **changes})
