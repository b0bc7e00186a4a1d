"""The steps that are measured: a table of models, methods and sizes, in the order of what each is worth.

A case is plain data, so that its description in a result file is enough to build the same step again. Adapter
settings are written out in full (as in PEFT's `adapter_config.json`): defaults differ between versions of PEFT.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

Mode = Literal["training", "evaluation", "generation"]
Settings = dict[str, Any]

CODEBERT = "microsoft/codebert-base"
CODET5 = "Salesforce/codet5-base"
CODET5P = "Salesforce/codet5p-220m"
QWEN_05, QWEN_15, QWEN_3, QWEN_7 = (f"Qwen/Qwen2.5-Coder-{size}" for size in ("0.5B", "1.5B", "3B", "7B"))
DEEPSEEK = "deepseek-ai/deepseek-coder-1.3b-base"
CODELLAMA = "codellama/CodeLlama-7b-hf"
STARCODER = "bigcode/starcoder2-3b"
PHI = "microsoft/phi-2"

_HEADS = {CODEBERT: "sequence-classification", CODET5: "seq2seq-lm", CODET5P: "seq2seq-lm"}
_TASK_TYPES = {"sequence-classification": "SEQ_CLS", "causal-lm": "CAUSAL_LM", "seq2seq-lm": "SEQ_2_SEQ_LM"}
_QV = {CODEBERT: ["query", "value"], CODET5: ["q", "v"], CODET5P: ["q", "v"]}
_IA3 = {
    CODEBERT: (["key", "value", "output.dense"], ["output.dense"]),
    CODET5: (["k", "v", "wo"], ["wo"]),
    PHI: (["q_proj", "v_proj", "fc2"], ["fc2"]),
}
_LORA: Settings = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One step to be measured; the fields that say what the step is have the names of `dryrun.workload.Workload`.

    Attributes:
        name: Unique; file-name safe.
        base_model: Catalogue name; the weights are random.
        head: Task head.
        adapter: Settings as in `adapter_config.json`, None for full fine-tuning.
        mode: Training, or a pass without gradients.
        new_tokens: Tokens to generate.
        minutes: Time on a data-centre GPU, roughly.
    """

    name: str
    base_model: str
    head: str
    adapter: Settings | None
    batch_size: int
    seq_length: int
    target_length: int = 0
    precision: str = "bf16"
    quantization: str | None = None
    autocast: bool = False
    optimizer: str = "adamw"
    gradient_checkpointing: bool = False
    attention: str = "sdpa"
    accumulation: int = 1
    holds_outputs: bool = True
    mode: Mode = "training"
    new_tokens: int = 0
    minutes: float = 0.4

    def description(self) -> dict[str, Any]:
        """Return all that a result file needs to say what the step was."""
        described = asdict(self)
        del described["minutes"]
        return described

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> "Case":
        """Return the case that a description was made of."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in description.items() if name in known})

    @property
    def needs_bitsandbytes(self) -> bool:
        """Does the step use 4-bit or 8-bit weights, or an 8-bit optimizer?"""
        return self.quantization is not None or "8bit" in self.optimizer or "paged" in self.optimizer

    def tiny(self) -> "Case":
        """Return the case with sizes for a CPU."""
        return replace(
            self, batch_size=2, seq_length=16, target_length=min(8, self.target_length),
            new_tokens=min(2, self.new_tokens),
        )  # fmt: skip


def adapter_of(method: str, base_model: str, head: str) -> Settings | None:
    """Return PEFT's settings of a method, None for full fine-tuning."""
    chosen, feedforward = _IA3.get(base_model, (["k_proj", "v_proj", "down_proj"], ["down_proj"]))
    settings: dict[str, Settings | None] = {
        "full": None,
        "lora": _LORA,
        "lora-qv": _LORA | {"r": 8, "lora_dropout": 0.0, "target_modules": _QV.get(base_model, ["q_proj", "v_proj"])},
        "dora": _LORA | {"use_dora": True},
        "ia3": {"peft_type": "IA3", "target_modules": chosen, "feedforward_modules": feedforward},
        "prefix": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 20},
        "prompt": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 20},
        "bitfit": {"peft_type": "BEFT", "target_modules": "all-linear"},
    }
    found = settings[method]
    return None if found is None else found | {"task_type": _TASK_TYPES[head]}


def _case(name: str, base_model: str, method: str, batch_size: int, seq_length: int, **options: Any) -> Case:
    head = options.pop("head", _HEADS.get(base_model, "causal-lm"))
    return Case(
        name=name, base_model=base_model, head=head, adapter=adapter_of(method, base_model, head),
        batch_size=batch_size, seq_length=seq_length, **options,
    )  # fmt: skip


_MIXED = {"autocast": True, "optimizer": "adamw-fused"}  # as `tune` trains
_SAVING = {"gradient_checkpointing": True}
_FP32 = {"precision": "fp32"}
_NF4, _INT8 = {"quantization": "4bit", "minutes": 0.6}, {"quantization": "8bit", "minutes": 0.6}

CASES: tuple[Case, ...] = (
    # One of everything first: each architecture, each method, each way to save memory.
    _case("codebert-lora", CODEBERT, "lora", 32, 512, **_MIXED),
    _case("qwen0.5b-lora", QWEN_05, "lora", 8, 512),
    _case("codet5-lora", CODET5, "lora", 16, 512, target_length=128, **_MIXED),
    _case("qwen1.5b-lora-checkpointing", QWEN_15, "lora", 8, 2048, **_MIXED, **_SAVING),
    _case("codebert-full", CODEBERT, "full", 32, 128, **_MIXED),
    _case("deepseek1.3b-lora-qv", DEEPSEEK, "lora-qv", 4, 2048),
    _case("qwen7b-lora-checkpointing", QWEN_7, "lora", 4, 2048, minutes=0.7, **_MIXED, **_SAVING),
    _case("codellama7b-lora-4bit", CODELLAMA, "lora", 4, 512, quantization="4bit", minutes=1.2, **_SAVING),
    _case("qwen0.5b-full-bf16", QWEN_05, "full", 4, 512),
    _case("codebert-ia3", CODEBERT, "ia3", 64, 128, **_MIXED),
    _case("qwen0.5b-prefix", QWEN_05, "prefix", 8, 512),
    _case("qwen1.5b-dora", QWEN_15, "dora", 4, 512),
    _case("codebert-lora-fp32-eager", CODEBERT, "lora", 16, 512, attention="eager", **_FP32),
    _case("qwen0.5b-evaluation", QWEN_05, "lora", 16, 1024, mode="evaluation"),
    _case("qwen0.5b-generation", QWEN_05, "lora", 32, 512, mode="generation", new_tokens=64),
    _case("starcoder2-3b-lora", STARCODER, "lora", 2, 2048, minutes=0.5, **_MIXED, **_SAVING),
    _case("phi2-lora", PHI, "lora", 8, 512, minutes=0.5),
    _case("qwen1.5b-lora-4bit", QWEN_15, "lora", 8, 512, **_NF4),
    _case("qwen1.5b-lora-8bit", QWEN_15, "lora", 4, 512, **_INT8),
    # Extremes of size: launches only, and as much as fits.
    _case("qwen0.5b-lora-tiny-batch", QWEN_05, "lora", 1, 128),
    _case("codebert-lora-fp32-tiny-batch", CODEBERT, "lora", 8, 128, **_FP32),
    _case("qwen1.5b-lora-large-batch", QWEN_15, "lora", 8, 2048, minutes=0.5),
    _case("codebert-lora-large-batch", CODEBERT, "lora", 256, 512, **_MIXED),
    _case("qwen7b-lora-qv-short", QWEN_7, "lora-qv", 16, 128, minutes=0.7),
    # The rest of the grid.
    _case("codet5p-full", CODET5P, "full", 8, 512, target_length=128, **_MIXED),
    _case("qwen3b-dora-checkpointing", QWEN_3, "dora", 4, 512, minutes=0.5, **_MIXED, **_SAVING),
    _case("qwen1.5b-prompt", QWEN_15, "prompt", 8, 512),
    _case("qwen1.5b-ia3", QWEN_15, "ia3", 8, 512, **_MIXED),
    _case("codet5-ia3", CODET5, "ia3", 16, 128, target_length=128, **_MIXED),
    _case("codebert-bitfit", CODEBERT, "bitfit", 32, 512, **_MIXED),
    _case("qwen0.5b-bitfit", QWEN_05, "bitfit", 8, 128),
    _case("qwen0.5b-lora-eager", QWEN_05, "lora", 4, 2048, attention="eager"),
    _case("qwen1.5b-lora-unpadded", QWEN_15, "lora", 4, 2048, attention="flash"),
    _case("qwen0.5b-lora-loss-only", QWEN_05, "lora", 8, 512, holds_outputs=False),
    _case("qwen0.5b-lora-accumulation", QWEN_05, "lora", 8, 512, accumulation=4, **_MIXED),
    _case("qwen0.5b-full-checkpointing", QWEN_05, "full", 4, 2048, **_MIXED, **_SAVING),
    _case("codet5p-lora-qv-fp32", CODET5P, "lora-qv", 8, 512, target_length=64, **_FP32),
    _case("codet5-prefix", CODET5, "prefix", 16, 128, target_length=128),
    _case("codebert-dora-fp32", CODEBERT, "dora", 16, 512, **_FP32),
    _case("codebert-full-fp32-checkpointing", CODEBERT, "full", 16, 512, **_FP32, **_SAVING),
    _case("codebert-prefix", CODEBERT, "prefix", 32, 128, **_MIXED),
    _case("qwen1.5b-classifier", QWEN_15, "lora", 16, 512, head="sequence-classification", **_MIXED),
    _case("qwen3b-lora-qv", QWEN_3, "lora-qv", 4, 2048, minutes=0.5, holds_outputs=False),
    _case("codellama7b-lora-qv", CODELLAMA, "lora-qv", 1, 2048, minutes=0.7),
    _case("deepseek1.3b-full-fused", DEEPSEEK, "full", 4, 512, optimizer="adamw-fused", **_SAVING),
    _case("phi2-ia3", PHI, "ia3", 4, 512, minutes=0.5, **_SAVING),
    _case("starcoder2-3b-lora-qv-short", STARCODER, "lora-qv", 8, 128, minutes=0.5),
    _case("deepseek1.3b-lora-8bit-checkpointing", DEEPSEEK, "lora", 8, 2048, **_INT8, **_SAVING),
    _case("qwen0.5b-full-adamw-8bit", QWEN_05, "full", 4, 512, optimizer="adamw-8bit"),
    _case("deepseek1.3b-evaluation", DEEPSEEK, "lora-qv", 8, 2048, mode="evaluation"),
    _case("deepseek1.3b-generation", DEEPSEEK, "lora-qv", 16, 1024, mode="generation", new_tokens=128),
)
