"""The training step without data or device: memory and time of the real model on the meta device."""
