"""Tiny base models, built once per session."""

from tests.tiny_bases import base_folder, fast_for_small_models

__all__ = ["base_folder", "fast_for_small_models"]
