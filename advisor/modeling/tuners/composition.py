"""Parts of adapters that are composed of trained ones: a task adapter on a language adapter, and AdapterFusion.

Stacking (MAD-X, Pfeiffer et al. 2020, https://arxiv.org/abs/2005.00052): the task adapter changes what the frozen
language adapter left.

AdapterFusion (Pfeiffer et al. 2021, https://arxiv.org/abs/2005.00247, section 3.2): with trained adapters A₁ ... Aₙ,
which stay frozen, and x the input of all,

    w = softmax(Q x · K Aᵢ(x)),    what is added = Σᵢ wᵢ V Aᵢ(x)        Q, K, V: (d, d), Q and K with biases

V starts as the identity plus 10⁻⁶ elsewhere, as in the AdapterHub library; there, and in the paper, V has no bias.
"""

import torch
from torch import nn
from transformers.activations import ACT2FN

_STD = 0.02
_OFF_DIAGONAL = 1e-6


def bottleneck_size(size: int, reduction_factor: float, multiple_of: int = 1) -> int:
    """Return m for a hidden size d: what the factor gives, down to a multiple of a number that is wanted at least."""
    return max(multiple_of, int(size // reduction_factor) // multiple_of * multiple_of)


class TrainedAdapter(nn.Module):
    """A bottleneck adapter that was trained before, without its dropout."""

    def __init__(self, size: int, *, reduction_factor: float, non_linearity: str, scaling: float) -> None:
        """Make room for its weights.

        Args:
            size: Hidden size d.
            reduction_factor: As in `BottleneckConfig`.
            non_linearity: As there.
            scaling: As there.
        """
        super().__init__()
        inner = bottleneck_size(size, reduction_factor)
        self.down = nn.Linear(size, inner)
        self.up = nn.Linear(inner, size)
        self.non_linearity = ACT2FN[non_linearity]
        self.scaling = scaling

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return A(x), shape (..., d)."""
        out: torch.Tensor = self.up(self.non_linearity(self.down(hidden.to(self.down.weight.dtype)))) * self.scaling
        return out.to(hidden.dtype)


class Fusion(nn.Module):
    """Weighs what trained adapters give, for each token."""

    def __init__(self, size: int) -> None:
        """Draw Q and K, and begin with V next to the identity.

        Args:
            size: Hidden size d.
        """
        super().__init__()
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size, bias=False)
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=_STD)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.value.weight.fill_(_OFF_DIAGONAL)
            self.value.weight.fill_diagonal_(1.0)

    def forward(self, hidden: torch.Tensor, changes: torch.Tensor) -> torch.Tensor:
        """Return what is added.

        Args:
            hidden: x, shape (..., d).
            changes: Aᵢ(x), shape (..., n, d).
        """
        kind = self.query.weight.dtype
        values = self.value(changes.to(kind))
        scores = (self.key(changes.to(kind)) @ self.query(hidden.to(kind)).unsqueeze(-1)).squeeze(-1)
        fused: torch.Tensor = (scores.softmax(dim=-1).unsqueeze(-2) @ values).squeeze(-2)
        return fused.to(hidden.dtype)
