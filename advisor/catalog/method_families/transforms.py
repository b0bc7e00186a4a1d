"""Orthogonal, spectral and block-wise changes of weights that PEFT has, none with a row of the evidence on code.

What is said in `low_rank` of `basis` and of ranges holds here too.
"""

from advisor.catalog.method import Method, around, choice, learning_rate
from advisor.catalog.method_families.low_rank import requested
from advisor.catalog.places import CONV1D_MODEL_TYPES


def entries() -> tuple[Method, ...]:
    """Return the methods of this family.

    Rates without a row of the evidence: BOFT, FRoD and WaveFT from their runs; WaveFT's reached an accuracy of 0.42.

    HRA: 1e-4 is that of PEFT's run on images (method_comparison/image-gen/results/hra--flux2-klein-default.json of
    https://github.com/huggingface/peft). Its authors (https://github.com/DaShenZi721/HRA) train DeBERTa-v3-base with
    4e-3 to 1e-2 on five sets of GLUE and with 1e-4 on QNLI (nlu/experiments/glue), Llama 2 7B with 1e-5
    (llama/tune.sh).

    FourierFT: its authors (https://github.com/Chaos96/fourierft) train the coefficients with 0.05 on Llama 2 7B
    (experiments/Instruction_Tuning/llama-2-7b.sh, scaling 300), and on RoBERTa with 0.043 to 0.12 beside a head with
    0.001 to 0.011 (experiments/GLUE, names of the logs; scaling 29 to 151). One rate serves both here, so the default
    is what a head bears and the range reaches to the coefficients' own. PEFT's runs at 1e-4 learned little (accuracy
    0.10 with 5000 coefficients, nothing with 1000).
    """
    return (
        requested(
            "oft", "OFT", "OFT", "PEFT's default", {"learning_rate": 1e-4, "oft_block_size": 32},
            around(1e-4, "peft2026comparison-022"), choice("oft_block_size", (16, 32, 64)),
            not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "boft", "BOFT", "BOFT", "boft/llama-3.2-3B-default", {"learning_rate": 1e-4, "boft_block_size": 4},
            around(1e-4), choice("boft_block_size", (4, 8)), not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "hra", "HRA", "HRA", "PEFT's run on images, and its authors' scripts", {"learning_rate": 1e-4, "r": 32},
            learning_rate(1e-5, 1e-2), choice("r", (4, 8, 16, 32)), not_model_types=CONV1D_MODEL_TYPES,
            learning_rates={"encoder-only": 4e-3},
        ),
        requested(
            "psoft", "PSOFT", "PSOFT", "PEFT's default", {"learning_rate": 5e-4, "r": 32, "psoft_alpha": 32},
            learning_rate(1e-4, 5e-3, "peft2026docs-009"), choice("r", (16, 32, 64)),
            not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "road", "RoAd", "ROAD", "road/llama-3.2-3B-lr_0.001",
            {"learning_rate": 1e-3, "variant": "road_2", "group_size": 64}, around(1e-3, "peft2026docs-007"),
            choice("variant", ("road_1", "road_2", "road_4")), works_quantized=True, not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "c3a", "C3A", "C3A", "c3a/llama-3.2-3B-default", {"learning_rate": 0.1, "block_size": 64},
            around(0.1, "peft2026docs-005"), choice("block_size", (32, 64, 128)), not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "fourierft", "FourierFT", "FOURIERFT", "its authors' scripts, for heads and coefficients together",
            {"learning_rate": 1e-2, "n_frequency": 1000, "scaling": 150.0}, learning_rate(1e-3, 0.12),
            choice("n_frequency", (200, 1000, 5000)),
        ),
        requested(
            "waveft", "WaveFT", "WAVEFT", "waveft/llama-3.2-3B-n_frequency-5000, with PEFT's default of coefficients",
            {"learning_rate": 1e-4, "n_frequency": 2592, "scaling": 25.0}, around(1e-4),
            choice("n_frequency", (1000, 2592, 5000)),
        ),
        requested(
            "frod", "FRoD", "FROD", "frod/llama-3.2-3B-default",
            {"learning_rate": 1e-4, "sparse_rate": 0.01, "progressbar": False}, around(1e-4),
            choice("sparse_rate", (0.01, 0.02)),
        ),
        requested(
            "miss", "MiSS", "MISS", "PEFT's default", {"learning_rate": 1e-4, "r": 64},
            around(1e-4, "peft2026comparison-020"), choice("r", (16, 32, 64)), not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "osf", "OSF", "OSF", "PEFT's default: the upper half of the singular values stays",
            {"learning_rate": 5e-5}, learning_rate(1e-5, 1e-4, "peft2026docs-010"), not_model_types=CONV1D_MODEL_TYPES,
        ),
    )  # fmt: skip
