"""pass@k: the chance that at least one of k samples of a problem is correct.

Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", arXiv 2107.03374, equation 1.
"""

from collections.abc import Sequence
from math import prod
from statistics import fmean

from advisor.errors import InputError


def pass_at_k(n_samples: int, n_correct: int, k: int) -> float:
    """Estimate pass@k of one problem without bias: 1 - C(n - c, k) / C(n, k).

    It is the share of all subsets of k samples that hold a correct one, written as a product so that large n stay exact
    to rounding.

    Args:
        n_samples: Samples drawn for the problem (n).
        n_correct: Samples among them that passed (c).
        k: Samples that a user would draw, at most `n_samples`.

    Raises:
        InputError: The counts contradict each other, or k is above n.
    """
    if not 0 <= n_correct <= n_samples:
        raise InputError(f"pass@{k}: {n_correct} correct of {n_samples} samples is not possible")
    if not 1 <= k <= n_samples:
        raise InputError(f"pass@{k} needs at least {max(k, 1)} samples per problem and k >= 1, there are {n_samples}")
    if n_samples - n_correct < k:
        return 1.0  # no k samples without a correct one
    return 1.0 - prod(1.0 - k / i for i in range(n_samples - n_correct + 1, n_samples + 1))


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> float:
    """Average pass@k over problems.

    Args:
        counts: Samples and correct samples of each problem.
        k: Samples that a user would draw.

    Raises:
        InputError: No problems, or one of them has fewer than k samples.
    """
    if not counts:
        raise InputError(f"pass@{k}: there is no problem to average over")
    return fmean(pass_at_k(n_samples, n_correct, k) for n_samples, n_correct in counts)
