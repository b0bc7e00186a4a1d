"""A real Ray cluster of several nodes on this machine, each with a raylet and workers of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

OBJECT_STORE_BYTES = 80 * 1024**2


def add_node(cluster: Any, *, cpus: int, gpus: int = 0) -> Any:
    """Add a node; the first one is the head, which the driver joins. GPUs stand in Ray's books only."""
    return cluster.add_node(
        num_cpus=cpus,
        num_gpus=gpus,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        dashboard_port=None,
    )


@contextmanager
def ray_cluster_of(*cpus: int, gpus_of_head: int = 0) -> Iterator[Any]:
    """Yield a cluster with a node for each number of cores; skips the test where it cannot start."""
    pytest.importorskip("ray", reason="Ray is not installed")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        try:
            for index, n in enumerate(cpus):
                add_node(cluster, cpus=n, gpus=gpus_of_head if index == 0 else 0)
        except Exception as error:
            pytest.skip(f"no Ray cluster can start here: {error}")
        yield cluster
    finally:
        cluster.shutdown()
