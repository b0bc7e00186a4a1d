"""Values of every method that suit models with 32 hidden dimensions, and what is promised of each."""

from collections.abc import Mapping

_LORA = {"r": 4, "lora_alpha": 8}
SMALL: Mapping[str, Mapping[str, object]] = {
    **dict.fromkeys(("lora", "rslora", "dora", "ff-lora"), _LORA),
    "pissa": {"r": 4, "lora_alpha": 4},
    "olora": {"r": 4, "lora_alpha": 4},
    "lora-plus": {**_LORA, "loraplus_lr_ratio": 4.0},
    "adalora": {"init_r": 6, "target_r": 4, "lora_alpha": 8},
    "prompt-tuning": {"num_virtual_tokens": 4},
    "prefix-tuning": {"num_virtual_tokens": 4},
    "p-tuning": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "llama-adapter": {"adapter_len": 4},
    "layer-freezing": {"trained_layers": 1},
    "adapter-houlsby": {"reduction_factor": 8},
    "adapter-pfeiffer": {"reduction_factor": 8},
    "adapter-parallel": {"reduction_factor": 4},
    "compacter": {"reduction_factor": 4},
    "mam": {"reduction_factor": 4, "num_prefix_tokens": 4, "prefix_hidden_size": 16},
    "ff-lora-adapter": {**_LORA, "reduction_factor": 8},
    "adapter-stack": {"reduction_factor": 8},
    "adamss": {"r": 8, "num_subspaces": 5},
    "c3a": {"block_size": 16},
    "deft": {"r": 4},
    "delora": {"r": 4},
    "fourierft": {"n_frequency": 10},
    "glora": {"r": 4},
    "gralora": {"r": 8, "alpha": 16},
    "hira": {"r": 4},
    "hra": {"r": 4},
    "lily": {"r": 4},
    "loha": {"r": 4, "alpha": 8},
    "lokr": {"r": 4, "alpha": 8},
    "miss": {"r": 4},
    "oft": {"oft_block_size": 16},
    "peanut": {"r": 4},
    "psoft": {"r": 8, "psoft_alpha": 8},
    "pvera": {"r": 8},
    "randlora": {"r": 8, "randlora_alpha": 160},
    "road": {"group_size": 16},
    "shira": {"r": 4},
    "supertuning": {"sparsity": 0.9},
    "tinylora": {"u": 16},
    "unilora": {"theta_d_length": 256},
    "vblora": {"num_vectors": 16, "vector_length": 16},
    "vera": {"r": 8},
    "waveft": {"n_frequency": 20},
}
# Begin elsewhere than at the base model: prefixes and prompts change what is read, DEFT in the form that removes a
# subspace and FourierFT (PEFT's default) begin at random; C3A, adapters and vectors drawn from a bank begin near it.
NOT_AT_THE_BASE_MODEL = frozenset({"prompt-tuning", "prefix-tuning", "p-tuning", "mam", "deft", "fourierft", "c3a"})
NEAR_THE_BASE_MODEL = frozenset({
    "adapter-houlsby", "adapter-pfeiffer", "compacter", "ff-lora-adapter", "vblora", "unilora",
})  # fmt: skip
