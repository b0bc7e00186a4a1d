"""Measurements that wait for a GPU, one module each."""
