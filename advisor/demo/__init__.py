"""Everything a demonstration needs offline: three tiny base models, and data made from the installed packages.

The base models (`advisor/demo/bases`) were trained on the Python standard library, the data come from third-party
packages, so neither has seen the other. Both are for demonstration only: they show how tuning works, not how well a
real model would do.
"""

from advisor.demo.base_models import base_model_path
from advisor.demo.dataset import DEFAULT_SIZES, TASKS, DemoDataset, write_dataset

__all__ = ["DEFAULT_SIZES", "TASKS", "DemoDataset", "base_model_path", "write_dataset"]
