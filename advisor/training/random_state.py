"""Random numbers of one training: a state of PyTorch's generators that is put in place while the training draws."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch


class RandomState:
    """Random numbers of one training, kept apart from everything else that draws some."""

    def __init__(self, devices: Sequence[torch.device], seed: int) -> None:
        """Begin as `torch.manual_seed(seed)` would, without a trace elsewhere.

        Args:
            devices: Where the training runs; the host's generator belongs to the state too.
            seed: Any integer.
        """
        self._devices = tuple(devices)
        self._is_own = False
        with self._kept():
            torch.manual_seed(seed)
            self._state = self._get()

    @contextmanager
    def own(self) -> Iterator[None]:
        """Draw from this training's numbers within the block, and leave everybody else's as they were after it."""
        with self._kept(), self.lent():
            yield

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Draw from this training's numbers within the block; the generators' own state is lost."""
        self._set(self._state)
        self._is_own = True
        try:
            yield
        finally:
            self._state, self._is_own = self._get(), False

    def read(self) -> list[torch.Tensor]:
        """Return the state: of the host's generator, and of those of the devices that have one."""
        return self._get() if self._is_own else list(self._state)

    def write(self, state: list[torch.Tensor]) -> None:
        """Go on from a state that `read` returned."""
        if self._is_own:
            self._set(state)
        else:
            self._state = list(state)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        before = self._get()
        try:
            yield
        finally:
            self._set(before)

    def _get(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        for device in self._devices:
            if device.type == "cuda":
                states.append(torch.cuda.get_rng_state(device))
            elif device.type == "mps":
                states.append(torch.mps.get_rng_state())
        return states

    def _set(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self._devices, states[1:], strict=False):  # the host's generator has no second state
            if device.type == "cuda":
                torch.cuda.set_rng_state(state, device)
            elif device.type == "mps":
                torch.mps.set_rng_state(state)
