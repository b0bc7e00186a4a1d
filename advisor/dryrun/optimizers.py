"""Optimizers on the meta device, with the allocations that they make on a CUDA device.

- `adamw`: `torch.optim.AdamW`. On CUDA it chooses its foreach implementation, which holds one temporary of the size of
  all parameters.
- `adamw-fused`: the same with `fused=True`; no temporaries.
- `adamw-8bit`, `paged-adamw-8bit`, `paged-adamw-32bit`: those of bitsandbytes, see `BlockwiseAdamW`.
- `adafactor`: `transformers.optimization.Adafactor` without relative steps and parameter scaling, as transformers'
  Trainer sets it (`trainer_optimizer.py`). `torch.optim.Adafactor` keeps the same state.
- `sgd`, `sgd-momentum` (0.9): `torch.optim.SGD`, foreach on CUDA. With weight decay it copies all gradients.

PyTorch chooses between implementations by the type of device (`torch/utils/_foreach_utils.py`); steps and clipping
take CUDA's choice inside `cuda_kernels_on_meta`. Every `_foreach_*` and `_fused_*` operator used has a meta rule in
PyTorch 2.13; the only one registered here is the update of `BlockwiseAdamW`.

Not covered: the few KiB that CUDA's foreach norm takes for partial sums; learning rates as tensors; GradScaler.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer
from torch.optim import optimizer as torch_optimizer
from torch.utils import _foreach_utils
from transformers.optimization import Adafactor

from advisor.errors import UnknownNameError

Parameters = Iterable[Parameter] | Iterable[dict[str, Any]]

LEARNING_RATE = 1e-3  # changes no allocation
MOMENTUM = 0.9

# bitsandbytes 0.50, optim/optimizer.py: `Optimizer2State.init_state` and `get_state_buffer`.
STATE_BLOCK = 256  # numbers that share one float32 scale
SMALLEST_8BIT = 4096  # numbers; smaller parameters keep 32-bit state
SMALLEST_PAGED = 100_000  # numbers; the state of smaller parameters stays in device memory
TABLE_SIZE = 256

_LIBRARY = torch.library.Library("advisor", "FRAGMENT")
_LIBRARY.define("adamw_update_(Tensor grad, Tensor(a!) parameter, Tensor(b!)[] states, Tensor[] tables) -> ()")


def build_optimizer(name: str, parameters: Parameters, *, weight_decay: float | None = None) -> Optimizer:
    """Return an optimizer for parameters on the meta device.

    Args:
        name: One of `OPTIMIZERS`.
        parameters: What is trained, or groups of it as `torch.optim` takes them.
        weight_decay: None for the optimizer's own default (AdamW 0.01, else 0). SGD allocates more with one.

    Raises:
        UnknownNameError: No such optimizer.
    """
    if name not in OPTIMIZERS:
        raise UnknownNameError("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name](parameters, **({} if weight_decay is None else {"weight_decay": weight_decay}))


def paged_tensors(optimizer: Optimizer) -> list[torch.Tensor]:
    """Return the state that lies in CUDA's unified memory, which the driver can move to the host."""
    return [
        value
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor) and getattr(value, "is_paged", False)
    ]


@contextmanager
def cuda_kernels_on_meta() -> Iterator[None]:
    """Within the block optimizers and gradient clipping treat meta tensors as CUDA tensors: foreach and fused."""
    names = ("_get_foreach_kernels_supported_devices", "_get_fused_kernels_supported_devices")
    # The optimizers have imported the functions by name, clipping looks them up in their module.
    places = [(module, name, getattr(module, name)) for module in (_foreach_utils, torch_optimizer) for name in names]
    for module, name, devices in places:
        setattr(module, name, partial(_and_meta, devices))
    try:
        yield
    finally:
        for module, name, devices in places:
            setattr(module, name, devices)


class BlockwiseAdamW(Optimizer):
    """bitsandbytes' AdamW on the meta device: its state, its one kernel per parameter, no arithmetic.

    Both moments in 8 bits, with a float32 scale per 256 numbers and one table for each moment, or in 32 bits.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        bits: Literal[8, 32],
        paged: bool,
        lr: float = LEARNING_RATE,
        weight_decay: float = 0.01,
    ) -> None:
        """Prepare; state is allocated with the first step, as in bitsandbytes.

        Args:
            parameters: What is trained.
            bits: Of each moment; parameters of fewer than 4096 numbers have 32 anyway.
            paged: Moments of parameters of 100,000 numbers or more lie in unified memory.
            lr: Learning rate.
            weight_decay: Decoupled weight decay.
        """
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})
        self._bits = bits
        self._paged = paged
        self._tables: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    self._allocate(state, parameter)
                changed = [state[name] for name in ("state1", "state2", "absmax1", "absmax2") if name in state]
                tables = [state[name] for name in ("qmap1", "qmap2") if name in state]
                torch.ops.advisor.adamw_update_(parameter.grad, parameter, changed, tables)
        return loss

    def _allocate(self, state: dict[str, Any], parameter: Parameter) -> None:
        if self._bits == 32 or parameter.numel() < SMALLEST_8BIT:
            state["state1"] = self._moment(parameter, torch.float32)
            state["state2"] = self._moment(parameter, torch.float32)
            return
        for name in ("qmap1", "qmap2"):  # shared by all parameters
            if name not in self._tables:
                self._tables[name] = torch.empty(TABLE_SIZE, device=parameter.device)
        n_blocks = -(-parameter.numel() // STATE_BLOCK)
        state["state1"], state["qmap1"] = self._moment(parameter, torch.uint8), self._tables["qmap1"]
        state["state2"], state["qmap2"] = self._moment(parameter, torch.uint8), self._tables["qmap2"]
        state["absmax1"] = torch.zeros(n_blocks, dtype=torch.float32, device=parameter.device)
        state["absmax2"] = torch.zeros(n_blocks, dtype=torch.float32, device=parameter.device)

    def _moment(self, parameter: Parameter, dtype: torch.dtype) -> torch.Tensor:
        moment = torch.zeros_like(parameter, dtype=dtype)
        marked: Any = moment
        marked.is_paged = self._paged and parameter.numel() >= SMALLEST_PAGED
        return moment


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adamw": partial(AdamW, lr=LEARNING_RATE),
    "adamw-fused": partial(AdamW, lr=LEARNING_RATE, fused=True),
    "adamw-8bit": partial(BlockwiseAdamW, bits=8, paged=False),
    "paged-adamw-8bit": partial(BlockwiseAdamW, bits=8, paged=True),
    "paged-adamw-32bit": partial(BlockwiseAdamW, bits=32, paged=True),
    "adafactor": partial(Adafactor, lr=LEARNING_RATE, scale_parameter=False, relative_step=False),
    "sgd": partial(SGD, lr=LEARNING_RATE),
    "sgd-momentum": partial(SGD, lr=LEARNING_RATE, momentum=MOMENTUM),
}


def _and_meta(devices: Callable[[], list[str]]) -> list[str]:
    return [*devices(), "meta"]


def _adamw_update(
    grad: torch.Tensor, parameter: torch.Tensor, states: list[torch.Tensor], tables: list[torch.Tensor]
) -> None:
    """The kernel works in place."""


_LIBRARY.impl("adamw_update_", _adamw_update, "Meta")
