"""Orthogonal, spectral and block-wise changes of weights that PEFT has, none with a row of the evidence on code.

What is said in `low_rank` of `basis` and of ranges holds here too.
"""

from advisor.catalog.method import Method, around, choice, learning_rate
from advisor.catalog.method_families.low_rank import requested
from advisor.catalog.places import CONV1D_MODEL_TYPES


def entries() -> tuple[Method, ...]:
    """Return the methods of this family.

    Rates without a row of the evidence: BOFT and FRoD from their runs. FourierFT learned little at 1e-4 in PEFT's run
    (accuracy 0.09), so a hundred times as much is our choice; WaveFT, whose run has no rate in the file, has half the
    way to it. HRA has the 1e-4 of the other orthogonal methods of the comparison.
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
            "hra", "HRA", "HRA", "hra/llama-3.2-3B-rank32", {"learning_rate": 1e-4, "r": 32}, around(1e-4),
            choice("r", (4, 8, 16, 32)), not_model_types=CONV1D_MODEL_TYPES,
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
            "fourierft", "FourierFT", "FOURIERFT", "PEFT's default; see the rates",
            {"learning_rate": 1e-2, "n_frequency": 1000, "scaling": 150.0}, around(1e-2),
            choice("n_frequency", (200, 1000, 5000)),
        ),
        requested(
            "waveft", "WaveFT", "WAVEFT", "PEFT's default; see the rates",
            {"learning_rate": 1e-3, "n_frequency": 2592, "scaling": 25.0}, around(1e-3),
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
