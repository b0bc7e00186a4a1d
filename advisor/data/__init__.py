"""Datasets: found, read, checked, split. Without torch; `training` and `tuning` build on it."""
