"""Training and evaluation of candidates on one device: data, batches, loop, metrics, runner."""
