"""Packed trials: several adapters trained in one forward and backward pass over one frozen base model.

`layout` says which rows of a batch are whose, `randomness` gives each trial its own random numbers and its own loss,
`routing` sends rows through the adapter they belong to, `lora` does so for all low-rank adapters at once, `trunk` puts
these on a copy of the base model, and `pack` trains.
"""
