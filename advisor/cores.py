"""How many processor cores this process may use."""


def usable_cores() -> int:
    """Return the number of cores, at least 1, within this process's affinity and its container's quota.

    A job of a cluster's queue or a container is given some of a machine's cores; `os.cpu_count` counts all of them.
    `LOKY_MAX_CPU_COUNT` in the environment is a further bound, as wherever joblib counts.
    """
    from joblib import cpu_count  # takes 0.2 s, which `--help` need not wait for

    return int(cpu_count())
