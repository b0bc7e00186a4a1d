"""Live bytes are those of storages that exist at a time, views and in-place writes not among them."""

import torch

from advisor.training.live_bytes import LiveBytes


def test_what_is_alive_at_a_time_is_added_up() -> None:
    given = torch.ones(1000)
    with LiveBytes() as live:
        one = given + 1  # 4000 bytes
        view = one.view(10, 100)  # none
        del one
        two = torch.cat([view, view])  # 8000 more
        del view, two
        assert live.peak_bytes == 12000
        given.add_(1)  # none
        three = given * 2  # 4000: the others are gone
        assert live.peak_bytes == 12000
        four = torch.cat([three, three, three])  # 12000 more
    assert live.peak_bytes == 16000
    assert four.sum() == 3 * 4 * 1000


def test_what_was_there_before_is_not_counted_even_when_an_operator_returns_it() -> None:
    weight = torch.ones(50, 20)
    with LiveBytes() as live:
        parts = weight.split(10)
        turned = weight.t()
        assert live.peak_bytes == 0
        product = parts[0] @ turned  # 10 x 50 floats
    assert live.peak_bytes == 10 * 50 * 4 == product.nbytes


def test_results_that_come_together_are_all_counted() -> None:
    given = torch.arange(100.0)
    with LiveBytes() as live:
        values, places = given.sort()
    assert live.peak_bytes == values.nbytes + places.nbytes == 400 + 800
