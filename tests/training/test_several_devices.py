"""Memory and random numbers of several GPUs, as the CUDA runtime would report them."""

import pytest
import torch

from advisor.modeling.devices import peak_memory_bytes
from advisor.training.probe import device_memory
from advisor.training.random_state import RandomState

GPUS = (torch.device("cuda", 0), torch.device("cuda", 1))
GIB = 2**30


def test_memory_is_the_sum_and_what_is_available_ends_with_the_first_full_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    reserved, free = {GPUS[0]: 6 * GIB, GPUS[1]: 3 * GIB}, {GPUS[0]: 2 * GIB, GPUS[1]: 21 * GIB}
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", reserved.__getitem__)
    monkeypatch.setattr(torch.cuda, "memory_reserved", reserved.__getitem__)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device], 24 * GIB))
    memory = device_memory(*GPUS)
    assert memory is not None
    assert memory.peak_bytes() == 9 * GIB
    # The first holds 6 of 8 GiB: a third more of everything fits.
    assert memory.available_bytes() == 12 * GIB
    alone = device_memory(GPUS[1])
    assert alone is not None
    assert (alone.peak_bytes(), alone.available_bytes()) == (3 * GIB, 24 * GIB)


def test_the_peak_of_a_trial_is_that_of_all_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", {GPUS[0]: 5, GPUS[1]: 7}.__getitem__)
    assert peak_memory_bytes(*GPUS) == 12
    assert peak_memory_bytes(GPUS[1]) == 7


def test_each_gpu_has_random_numbers_of_its_own_that_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # The generators of two GPUs are played by two of the host's, which manual_seed seeds as it does those of GPUs.
    generators = {device: torch.Generator() for device in GPUS}
    seed_host = torch.manual_seed

    def seed_all(seed: int) -> torch.Generator:
        for generator in generators.values():
            generator.manual_seed(seed)
        return seed_host(seed)

    monkeypatch.setattr(torch, "manual_seed", seed_all)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: generators[device].get_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: generators[device].set_state(state))

    def drawn() -> list[torch.Tensor]:
        return [torch.rand(3, generator=generator) for generator in generators.values()]

    random = RandomState(GPUS, seed=5)
    outside = [generator.get_state() for generator in generators.values()]
    with random.own():
        first = drawn()
    assert all(torch.equal(one.get_state(), state) for one, state in zip(generators.values(), outside, strict=True))
    state = random.read()
    assert len(state) == 3
    with random.own():
        second = drawn()
    random.write(state)
    with random.own():
        again = drawn()
    assert all(map(torch.equal, second, again))
    assert not any(map(torch.equal, first, second))
