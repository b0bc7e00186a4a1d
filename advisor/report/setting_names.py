"""What the settings of a candidate are called in lists for people; tables keep the names that they are typed by."""

from advisor.recommendation.text import CHOICE_TITLES

# Beside those of `CHOICE_TITLES`; what only needs a space for each underscore is not among them.
_WORDS = {
    "max_seq_length": "longest input",
    "warmup_ratio": "share of the steps to warm up",
    "lr_scheduler_type": "schedule of the learning rate",
    "adapters": "trained adapters in it",
    # LoRA and its variants
    "alpha": "alpha", "randlora_alpha": "alpha", "psoft_alpha": "alpha", "delora_lambda": "lambda",
    "use_rslora": "alpha over the root of the rank (rsLoRA)",
    "use_dora": "direction and magnitude apart (DoRA)",
    "init_lora_weights": "start of the weights",
    "init_r": "rank at the start", "target_r": "rank at the end",
    "gralora_k": "blocks to a side",
    "num_vectors": "vectors in the bank", "vector_length": "length of a vector", "topk": "vectors that are mixed",
    "theta_d_length": "length of the shared vector",
    "u": "numbers that are trained in a group",
    "num_B": "matrices B", "stride_A": "layers that share a matrix A",
    "num_subspaces": "subspaces", "subspace_rank": "rank of a subspace",
    "config_A_B": "form of A and B", "config_C": "form of C", "config_D_E": "form of D and E",
    "decomposition_method": "way of decomposition", "para": "without the injected part (PaRa)",
    "oft_block_size": "block size", "boft_block_size": "block size",
    "n_frequency": "coefficients that are trained",
    "sparse_rate": "share of the rotation that is trained",
    "progressbar": "progress bar",
    # Adapters and prompts
    "non_linearity": "non-linearity", "init_weights": "start of the weights",
    "phm_dim": "terms of the Kronecker sum", "phm_rank": "rank of its factors",
    "num_prefix_tokens": "prefix tokens", "prefix_hidden_size": "size of the prefix network",
    "prefix_projection": "prefix from a network",
    "encoder_hidden_size": "size of the prompt encoder", "encoder_reparameterization_type": "kind of prompt encoder",
    "adapter_len": "adapter tokens",
    "cross_adapter": "adapters after attention to the encoder",
}  # fmt: skip


def setting_title(name: str) -> str:
    """Return what a setting is called, with a capital; of an unknown one its name with spaces for underscores.

    Args:
        name: As a candidate has it, such as "num_epochs".
    """
    words = _WORDS.get(name) or CHOICE_TITLES.get(name) or " ".join(name.split("_"))
    return words[:1].upper() + words[1:]
