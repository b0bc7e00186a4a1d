"""Configurations of every method of PEFT: those of published runs at full size, and small ones for tiny models.

`PUBLISHED` and `FURTHER` are settings of PEFT's own comparison of methods, as far as they differ from PEFT's defaults
(`method_comparison/MetaMathQA/experiments/<name>/adapter_config.json` of github.com/huggingface/peft).
"""

from typing import Any

Settings = dict[str, Any]

_QV = ["q_proj", "v_proj"]
_MLP = ["gate_proj", "up_proj", "down_proj"]
_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_BLOCK_DIAGONAL = {
    "nblocks": 2,
    "target_modules_bd_a": ["o_proj", "down_proj"],
    "target_modules_bd_b": ["q_proj", "v_proj", "k_proj", "up_proj", "gate_proj"],
}
_LM = {"task_type": "CAUSAL_LM"}


def _lora(r: int, lora_alpha: int, **settings: object) -> Settings:
    return {"peft_type": "LORA", **_LM, "r": r, "lora_alpha": lora_alpha, **settings}


def _prefix(num_virtual_tokens: int, **settings: object) -> Settings:
    return {"peft_type": "PREFIX_TUNING", **_LM, "num_virtual_tokens": num_virtual_tokens, **settings}


# Experiment in knowledge/peft_method_comparison.csv -> settings; full fine-tuning has none.
PUBLISHED: dict[str, Settings] = {
    "adalora/llama-3.2-3B-rank32": {
        "peft_type": "ADALORA", "init_r": 64, "target_r": 32, "lora_alpha": 8, "r": 8, "tfinal": 500, "tinit": 200,
        "total_step": 5000,
    },
    "adamss/llama-3.2-3B-rank32": {
        "peft_type": "ADAMSS", **_LM, "r": 100, "num_subspaces": 32, "subspace_rank": 1, "init_weights": "orthogonal",
    },
    "adaptionprompt/llama-3.2-3B-lr_5e-3": {"peft_type": "ADAPTION_PROMPT", "adapter_layers": 28, "adapter_len": 100},
    "boft/llama-3.2-3B-default": {"peft_type": "BOFT", "boft_block_size": 4, "boft_n_butterfly_factor": 1},
    "c3a/llama-3.2-3B-default": {
        "peft_type": "C3A", "block_size": 64, "init_weights": False, "target_modules": _QV,
    },
    "deft/llama-3.2-3B-rank32-para": {
        "peft_type": "DEFT", **_LM, "r": 32, "decomposition_method": "qr", "para": True,
    },
    "delora/llama-3.2-3B-rank32": {"peft_type": "DELORA", **_LM, "r": 32, "delora_lambda": 15},
    "fourierft/llama-3.2-3B-n_frequency-5000": {
        "peft_type": "FOURIERFT", "n_frequency": 5000, "scaling": 300, "init_weights": False, "target_modules": _QV,
    },
    "frod/llama-3.2-3B-default": {
        "peft_type": "FROD", **_LM, "sparse_rate": 0.01, "runtime_offload_base_weight": True,
    },
    "glora/llama-3.2-3B-vector-paths": {
        "peft_type": "GLORA", **_LM, "r": 8, "config_A_B": "vector", "config_C": "vector", "target_modules": _QV,
    },
    "gralora/llama-3.2-3B-rank32": {"peft_type": "GRALORA", "r": 32, "gralora_k": 2},
    "ia3/llama-3.2-3B-default": {"peft_type": "IA3"},
    "lily/llama-3.2-3B-rank140-mlp-a2-b2-s8.0": {
        "peft_type": "LILY", "r": 140, "num_B": 2, "stride_A": 14, "scaling": 8.0, "target_modules": _MLP,
    },
    "ln_tuning/llama-3.2-3B-default": {"peft_type": "LN_TUNING"},
    "loha/llama-3.2-3B-rank32": {"peft_type": "LOHA", "r": 32, "alpha": 64, "target_modules": _QV},
    "lokr/llama-3.2-3B-rank32-factor4-lr0.003": {
        "peft_type": "LOKR", "r": 32, "alpha": 64, "decompose_factor": 4, "target_modules": _QV,
    },
    "lora/llama-3.2-3B-rank14-target-mlp-bdlora": _lora(14, 28, target_modules=_MLP, use_bdlora=_BLOCK_DIAGONAL),
    "lora/llama-3.2-3B-rank32-dora": _lora(32, 64, use_dora=True),
    "lora/llama-3.2-3B-rank32-lorafa": _lora(32, 64),
    "lora/llama-3.2-3B-rank32-mica": _lora(32, 64, init_lora_weights="mica"),
    "lora/llama-3.2-3B-rank32": _lora(32, 64),
    "lora/llama-3.2-3B-rank64-rslora": _lora(64, 64, use_rslora=True),
    "lora/llama-3.2-3B-rank64": _lora(64, 128),
    "miss/llama-3.2-3B-bat": {"peft_type": "MISS", "r": 64, "init_weights": "bat"},
    "miss/llama-3.2-3B-mini": {"peft_type": "MISS", "r": 64, "mini_r": 64, "init_weights": "mini"},
    "peanut/llama-3.2-3B-rank1-relu-depth0-s32.0": {
        "peft_type": "PEANUT", "r": 1, "depth": 0, "scaling": 32.0, "target_modules": _QV,
    },
    "prefixtuning/llama-3.2-3B-lr_0.001": _prefix(200),
    "prefixtuning/llama-3.2-3B-lr_0.005_zero_init": _prefix(200, init_weights="zero"),
    "prefixtuning/llama-3.2-3B-tokens50-init_prefix-lr_0.005": _prefix(50, init_weights="zero"),
    "prompt_tuning/llama-3.2-3B-default": {"peft_type": "PROMPT_TUNING", **_LM, "num_virtual_tokens": 200},
    "psoft/llama-3.2-3B-default": {"peft_type": "PSOFT", "r": 256, "psoft_alpha": 256},
    "pvera/llama-3.2-3B-default": {"peft_type": "PVERA", "r": 256},
    "road/llama-3.2-3B-lr_0.001": {"peft_type": "ROAD", "variant": "road_2", "group_size": 64},
    "shira/llama-3.2-3B-lr_0.0003-random_seed_42": {"peft_type": "SHIRA", "r": 32, "random_seed": 42},
    "vblora/llama-3.2-3B-default": {
        "peft_type": "VBLORA", "r": 4, "num_vectors": 256, "vector_length": 256, "topk": 2, "target_modules": _QV,
    },
    "vera/llama-3.2-3B-default": {"peft_type": "VERA", "r": 256},
}  # fmt: skip

# Further experiments of the same comparison, each a method or variant that is not above. Their numbers of trainable
# parameters for hidden size 3072, 28 layers, 1024 key and value outputs and 8192 inner features follow by hand; None
# where they follow from a whole model of their own.
FURTHER: dict[str, tuple[Settings, int | None]] = {
    "beft/llama-3.2-3B-target-v_proj": ({"peft_type": "BEFT", "target_modules": ["v_proj"]}, 28 * 1024),
    "deft/llama-3.2-3B-rank32": (
        {"peft_type": "DEFT", **_LM, "r": 32, "alpha": 128, "decomposition_method": "relu"},
        28 * 32 * (2 * 3072 + 4096),
    ),
    "frod/llama-3.2-3B-sparse0.02-lr_0.001": (
        {"peft_type": "FROD", **_LM, "sparse_rate": 0.02, "runtime_offload_base_weight": True},
        56 * (int(3072 * 3072 * 0.02) + 3072),
    ),
    "glora/llama-3.2-3B-default": (
        {"peft_type": "GLORA", **_LM, "r": 8, "config_A_B": "lora", "config_C": "lora", "target_modules": _QV},
        28 * 2 * 8 * (2 * 3072 + 4096),
    ),
    "hira/llama-3.2-3B-rank32-lr4.5e-3": (
        {"peft_type": "HIRA", **_LM, "r": 32, "target_modules": _QV}, 28 * 32 * (2 * 3072 + 4096),
    ),
    "hra/llama-3.2-3B-rank32": ({"peft_type": "HRA", "r": 32}, 56 * 32 * 3072),
    "loha/llama-3.2-3B-rank32-khatri-rao": (
        {"peft_type": "LOHA", "r": 32, "alpha": 64, "target_modules": _QV, "use_khatri_rao": True},
        28 * 2 * 32 * (2 * 3072 + 4096),
    ),
    # 3072 = 48 * 64 and 1024 = 32 * 32; rank 32 is too high to split the larger factor.
    "lokr/llama-3.2-3B-rank32": (
        {"peft_type": "LOKR", "r": 32, "alpha": 64, "target_modules": _QV},
        28 * (48 * 48 + 64 * 64 + 32 * 48 + 32 * 64),
    ),
    "lora/llama-3.2-3B-rank10-target-mlp": (_lora(10, 20, target_modules=_MLP), 28 * 30 * (3072 + 8192)),
    "lora/llama-3.2-3B-rank10-target-mlp-velora": (
        _lora(
            10, 20, target_modules=_MLP,
            velora_config={"init_type": "batch_average_once", "num_groups": 32, "scale": 1.0},
        ),
        28 * 30 * (3072 + 8192),
    ),
    "lora/llama-3.2-3B-rank16-all-linear-lr3e-4": (
        _lora(16, 32, target_modules="all-linear"),
        28 * 16 * (2 * 2 * 3072 + 2 * (3072 + 1024) + 3 * (3072 + 8192)),
    ),
    "lora/llama-3.2-3B-rank32-kasa": (
        _lora(32, 64, kasa_config={"beta": 0.0001, "gamma": 0.001}), 28 * (32 * (2 * 3072 + 4096) + 64),
    ),
    "lora/llama-3.2-3B-rank44-bdlora": (
        _lora(44, 88, use_bdlora=_BLOCK_DIAGONAL), 28 * 44 * (2 * 3072 + 4096 // 2),
    ),
    "miss/llama-3.2-3B-default": ({"peft_type": "MISS", "r": 64}, 28 * 64 * (3072 + 1024)),
    "oft/llama-3.2-3B-rank32": (
        {"peft_type": "OFT", "r": 32, "oft_block_size": 0, "target_modules": _QV, "use_cayley_neumann": False},
        56 * 32 * 96 * 95 // 2,
    ),
    "osf/llama-3.2-3B-rank128": (
        {
            "peft_type": "OSF", "target_modules": _LINEAR,
            "rank_pattern": {name: 896 if name in ("k_proj", "v_proj") else 2944 for name in _LINEAR},
        },
        28 * 128 * (2 * (6144 + 1) + 2 * (4096 + 1) + 3 * (11264 + 1)),
    ),
    "osf/llama-3.2-3B-default": (
        {"peft_type": "OSF", "target_modules": _LINEAR},
        28 * (2 * 1536 * (6144 + 1) + 2 * 512 * (4096 + 1) + 3 * 1536 * (11264 + 1)),
    ),
    "peanut/llama-3.2-3B-rank32-relu-depth2-s2.0": (
        {"peft_type": "PEANUT", "r": 32, "depth": 2, "scaling": 2.0, "target_modules": _QV},
        28 * (2 * 32 * 4096 + 2 * 4 * 32 * 32),
    ),
    "prompt_tuning/llama-3.2-3B-sample_vocab-lr_0.001": (
        {"peft_type": "PROMPT_TUNING", **_LM, "num_virtual_tokens": 200, "prompt_tuning_init": "SAMPLE_VOCAB"},
        200 * 3072,
    ),
    "psoft/llama-3.2-3B-fast": (
        {"peft_type": "PSOFT", "r": 256, "psoft_alpha": 256, "psoft_svd": "lowrank", "use_cayley_neumann": True},
        56 * (256 * 255 // 2 + 2 * 256),
    ),
    "ptuning/llama-3.2-3B-default": (
        {
            "peft_type": "P_TUNING", **_LM, "num_virtual_tokens": 20, "encoder_hidden_size": 3072,
            "encoder_num_layers": 2, "encoder_reparameterization_type": "MLP",
        },
        20 * 3072 + 3 * (3072 * 3072 + 3072),
    ),
    "randlora/llama-3.2-3B-default": (
        # As many bases as full rank takes: 3072 / 32 and 1024 / 32.
        {"peft_type": "RANDLORA", "r": 32, "randlora_alpha": 640},
        28 * (96 * (32 + 3072) + 32 * (32 + 1024)),
    ),
    "road/llama-3.2-3B-variant1": ({"peft_type": "ROAD", "variant": "road_1", "group_size": 64}, 28 * (3072 + 1024)),
    "shadow/llama-3.2-3B-mirror": (
        {
            "peft_type": "SHADOW", **_LM, "r": 8, "auxiliary_loss_weight": 0.01, "shadow_alpha": 0.5,
            "shadow_dropout": 0.2, "shadow_model": "mirror", "shadow_intermediate_size": 256, "shadow_hidden_size": 32,
            "shadow_num_attention_heads": 8, "shadow_num_hidden_layers": 1,
        },
        None,
    ),
    "supertuning/llama-3.2-3B-s974-topk": (
        {"peft_type": "SUPERTUNING", **_LM, "sparsity": 0.974, "target_modules": _QV},
        28 * (int(3072 * 3072 * (1 - 0.974)) + int(3072 * 1024 * (1 - 0.974))),
    ),
    "supertuning/llama-3.2-3B-s99-supra-r32": (
        {"peft_type": "SUPERTUNING", **_LM, "sparsity": 0.99, "r": 32, "lora_alpha": 64.0, "target_modules": _QV},
        28 * (int(3072 * 3072 * (1 - 0.99)) + int(3072 * 1024 * (1 - 0.99)) + 32 * (2 * 3072 + 4096)),
    ),
    "tinylora/llama-3.2-3B-default": ({"peft_type": "TINYLORA", "r": 2, "u": 64}, 56 * 64),
    "tinylora/llama-3.2-3B-weight-tying": ({"peft_type": "TINYLORA", "r": 2, "u": 64, "weight_tying": 1.0}, 64),
    "trainable_tokens/llama-3.2-3B-sos+eos": (
        {"peft_type": "TRAINABLE_TOKENS", **_LM, "token_indices": [128000, 128001]}, 2 * 3072,
    ),
    "unilora/llama-3.2-3B-r4-td131072-lr0.002": (
        {"peft_type": "UNILORA", **_LM, "r": 4, "theta_d_length": 131072, "target_modules": _QV}, 131072,
    ),
    "waveft/llama-3.2-3B-n_frequency-5000": (
        {"peft_type": "WAVEFT", **_LM, "n_frequency": 5000, "target_modules": _QV}, 56 * 5000,
    ),
}  # fmt: skip

# A method or variant -> settings for a decoder of hidden size 64, with 16 key and value outputs per head.
TINY: dict[str, Settings] = {
    "adalora": {"peft_type": "ADALORA", "init_r": 6, "target_r": 4, "total_step": 100},
    "adamss": {"peft_type": "ADAMSS", "r": 8, "num_subspaces": 5, "target_modules": _QV},
    "adamss of dynamic rank": {
        "peft_type": "ADAMSS", "r": 8, "num_subspaces": 5, "use_dynamic_rank": True, "target_modules": _QV,
    },
    "adaption prompt": {"peft_type": "ADAPTION_PROMPT", "adapter_len": 4, "adapter_layers": 2},
    "beft": {"peft_type": "BEFT"},
    "boft": {"peft_type": "BOFT", "target_modules": _QV},
    "c3a": {"peft_type": "C3A", "block_size": 16, "target_modules": _QV},
    "cartridge": {"peft_type": "CARTRIDGE", "num_virtual_tokens": 4},
    "cpt": {
        "peft_type": "CPT", "cpt_token_ids": [1, 2, 3, 4], "cpt_mask": [1, 1, 1, 1],
        "cpt_tokens_type_mask": [1, 2, 3, 4],
    },
    "deft": {"peft_type": "DEFT"},
    "deft by qr": {"peft_type": "DEFT", "para": True, "decomposition_method": "qr"},
    "delora": {"peft_type": "DELORA"},
    "fourierft": {"peft_type": "FOURIERFT", "n_frequency": 10, "target_modules": _QV},
    "frod": {"peft_type": "FROD", "progressbar": False},
    "frod with dropout": {"peft_type": "FROD", "progressbar": False, "frod_dropout": 0.1},
    "glora": {"peft_type": "GLORA", "target_modules": _QV},
    "glora by vectors": {"peft_type": "GLORA", "config_A_B": "vector", "config_C": "vector", "target_modules": _QV},
    "gralora": {"peft_type": "GRALORA", "r": 8},
    "gralora, hybrid": {"peft_type": "GRALORA", "r": 8, "hybrid_r": 4},
    "hira": {"peft_type": "HIRA", "r": 4},
    "hra": {"peft_type": "HRA", "target_modules": _QV},
    "hra, orthogonal": {"peft_type": "HRA", "apply_GS": True, "r": 4, "target_modules": _QV},
    "ia3": {"peft_type": "IA3"},
    "lily": {"peft_type": "LILY", "r": 4},
    "ln tuning": {"peft_type": "LN_TUNING"},
    "loha": {"peft_type": "LOHA", "target_modules": _QV},
    "loha with dropout": {"peft_type": "LOHA", "rank_dropout": 0.1, "target_modules": _QV},
    "lokr": {"peft_type": "LOKR", "target_modules": _QV},
    "lokr of factor 4": {"peft_type": "LOKR", "r": 32, "decompose_factor": 4, "target_modules": _QV},
    "lora": {"peft_type": "LORA"},
    "lora on all layers": {"peft_type": "LORA", "target_modules": "all-linear"},
    "lora with biases": {"peft_type": "LORA", "lora_bias": True, "bias": "all", "use_rslora": True},
    "lora, gaussian": {"peft_type": "LORA", "init_lora_weights": "gaussian"},
    "lora, pissa": {"peft_type": "LORA", "init_lora_weights": "pissa"},
    "lora, pissa by iterations": {"peft_type": "LORA", "init_lora_weights": "pissa_niter_2"},
    "lora, olora": {"peft_type": "LORA", "init_lora_weights": "olora"},
    "lora, mica": {"peft_type": "LORA", "init_lora_weights": "mica"},
    "lora, orthogonal": {"peft_type": "LORA", "init_lora_weights": "orthogonal"},
    "lora, eva": {"peft_type": "LORA", "init_lora_weights": "eva"},
    "lora, drawn": {"peft_type": "LORA", "init_lora_weights": False},
    "dora": {"peft_type": "LORA", "use_dora": True},
    "bd-lora": {"peft_type": "LORA", "r": 4, "target_modules": _MLP, "use_bdlora": _BLOCK_DIAGONAL},
    "kasa": {"peft_type": "LORA", "kasa_config": {"beta": 0.0001, "gamma": 0.001}},
    "montelora": {"peft_type": "LORA", "monteclora_config": {"num_samples": 3, "buffer_size": 2}},
    "velora": {"peft_type": "LORA", "velora_config": {"num_groups": 32, "scale": 1.0}},
    "lora and tokens": {"peft_type": "LORA", "trainable_token_indices": [1, 2]},
    "lora on embeddings": {"peft_type": "LORA", "target_modules": ["embed_tokens", "q_proj"]},
    "mica on embeddings": {
        "peft_type": "LORA", "target_modules": ["embed_tokens", "q_proj"], "init_lora_weights": "mica",
    },
    "lora and a saved module": {"peft_type": "LORA", "modules_to_save": ["lm_head"]},
    "lora on repeated layers": {"peft_type": "LORA", "layer_replication": [[0, 2], [1, 2]]},
    "miss": {"peft_type": "MISS", "r": 4, "target_modules": _QV},
    "miss, bat": {"peft_type": "MISS", "r": 4, "init_weights": "bat", "target_modules": _QV},
    "miss, mini": {"peft_type": "MISS", "r": 4, "mini_r": 4, "init_weights": "mini", "target_modules": _QV},
    "multitask prompt tuning": {"peft_type": "MULTITASK_PROMPT_TUNING", "num_virtual_tokens": 4, "num_tasks": 2},
    "oft": {"peft_type": "OFT", "oft_block_size": 16, "target_modules": _QV},
    "oft, constrained": {
        "peft_type": "OFT", "oft_block_size": 16, "coft": True, "block_share": True, "use_cayley_neumann": False,
        "target_modules": _QV,
    },
    "osf": {"peft_type": "OSF", "target_modules": _QV},
    "osf of high rank": {"peft_type": "OSF", "effective_rank": 30, "target_modules": _QV},
    "p-tuning": {"peft_type": "P_TUNING", "num_virtual_tokens": 4, "encoder_hidden_size": 64},
    "p-tuning by lstm": {
        "peft_type": "P_TUNING", "num_virtual_tokens": 4, "encoder_hidden_size": 64,
        "encoder_reparameterization_type": "LSTM",
    },
    "peanut": {"peft_type": "PEANUT", "r": 4, "target_modules": _QV},
    "peanut of depth 2": {"peft_type": "PEANUT", "r": 4, "depth": 2, "target_modules": _QV},
    "poly": {"peft_type": "POLY", "target_modules": _QV},
    "prefix tuning": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4},
    "prefix tuning, projected": {
        "peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4, "prefix_projection": True, "encoder_hidden_size": 32,
    },
    "prompt tuning": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4},
    "prompt tuning from words": {
        "peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4, "prompt_tuning_init": "SAMPLE_VOCAB",
    },
    "psoft": {"peft_type": "PSOFT", "r": 8, "target_modules": _QV},
    "psoft by iterations": {
        "peft_type": "PSOFT", "r": 8, "psoft_svd": "lowrank", "use_cayley_neumann": True, "target_modules": _QV,
    },
    "pvera": {"peft_type": "PVERA", "r": 8},
    "randlora": {"peft_type": "RANDLORA", "r": 8},
    "randlora, sparse": {"peft_type": "RANDLORA", "r": 8, "sparse": True},
    "road 1": {"peft_type": "ROAD", "group_size": 16},
    "road 2": {"peft_type": "ROAD", "group_size": 16, "variant": "road_2"},
    "road 4": {"peft_type": "ROAD", "group_size": 16, "variant": "road_4"},
    "shadow": {"peft_type": "SHADOW"},
    "shadow, narrow": {
        "peft_type": "SHADOW", "shadow_intermediate_size": 32, "shadow_hidden_size": 16,
        "shadow_num_attention_heads": 2, "shadow_num_hidden_layers": 1,
    },
    "shira": {"peft_type": "SHIRA", "r": 4},
    "supertuning": {"peft_type": "SUPERTUNING", "sparsity": 0.9, "target_modules": _QV},
    "supertuning with lora": {"peft_type": "SUPERTUNING", "r": 4, "lora_alpha": 8, "target_modules": _QV},
    "tinylora": {"peft_type": "TINYLORA"},
    "tinylora, tied": {"peft_type": "TINYLORA", "weight_tying": 1.0},
    "trainable tokens": {"peft_type": "TRAINABLE_TOKENS", "token_indices": [1, 2]},
    "unilora": {"peft_type": "UNILORA", "target_modules": _QV},
    "vblora": {"peft_type": "VBLORA", "num_vectors": 16, "vector_length": 16, "target_modules": _QV},
    "vera": {"peft_type": "VERA", "r": 8},
    "waveft": {"peft_type": "WAVEFT", "n_frequency": 20, "target_modules": _QV},
    "waveft without transform": {"peft_type": "WAVEFT", "n_frequency": 20, "use_idwt": False, "target_modules": _QV},
    "waveft by symlets": {
        "peft_type": "WAVEFT", "n_frequency": 20, "wavelet_family": "sym5", "target_modules": _QV,
    },
}  # fmt: skip
