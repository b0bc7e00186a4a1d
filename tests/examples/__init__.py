"""Tests of the files in `examples/`, which start workers on clusters."""
