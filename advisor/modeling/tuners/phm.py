"""Linear layers by parameterised hypercomplex multiplication, as Compacter stacks them.

Mahabadi et al. 2021 (https://arxiv.org/abs/2106.04647), equations 4 to 6: with n terms, i inputs and o outputs,

    W = Σₖ Aₖ ⊗ (Sₖ Tₖ)        Aₖ: (n, n), Sₖ: (i/n, r), Tₖ: (r, o/n), W: (i, o)

The rules Aₖ may belong to all layers together, the low-rank factors Sₖ and Tₖ to one layer each. Initial values are
those of the AdapterHub library: Aₖ normal of standard deviation 0.0001, Sₖ and Tₖ Glorot normal, biases zero, so that
training starts next to the base model.
"""

import torch
from torch import nn

_RULE_STD = 1e-4


def new_rule(phm_dim: int) -> nn.Parameter:
    """Return rules A, shape (n, n, n): one matrix per term."""
    return nn.Parameter(torch.empty(phm_dim, phm_dim, phm_dim).normal_(std=_RULE_STD))


class PHMLinear(nn.Module):
    """A projection y = x W + b of few parameters."""

    def __init__(self, inputs: int, outputs: int, *, rank: int, rule: nn.Parameter) -> None:
        """Draw the factors.

        Args:
            inputs: Features of x.
            outputs: Features of y.
            rank: r.
            rule: A, shape (n, n, n); several layers may be given the same.

        Raises:
            ValueError: n divides the numbers of features not.
        """
        super().__init__()
        n = rule.shape[0]
        if inputs % n or outputs % n:
            raise ValueError(f"phm_dim {n} must divide the hidden size and the bottleneck size ({inputs}, {outputs})")
        self.rule = rule
        self.left = nn.Parameter(torch.empty(n, inputs // n, rank))
        self.right = nn.Parameter(torch.empty(n, rank, outputs // n))
        self.bias = nn.Parameter(torch.zeros(outputs))
        for factor in (*self.left, *self.right):
            nn.init.xavier_normal_(factor)

    @property
    def weight(self) -> torch.Tensor:
        """W, shape (inputs, outputs)."""
        n, rows, _ = self.left.shape
        columns = self.right.shape[2]
        factors = torch.bmm(self.left, self.right)
        return torch.einsum("kac,kpq->apcq", self.rule.to(factors.device), factors).reshape(n * rows, n * columns)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x W + b, shape (..., outputs) for (..., inputs)."""
        return x @ self.weight + self.bias
