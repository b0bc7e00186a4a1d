"""The orders of calls that are compared: the product's, and what remedies would make of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from studies.scale.simulation import LOCK, UNLOCK, Protocol

# What `SharedKeeper` was when it was measured first: it looked for what others have left, drew without the lock, and
# looked again before it created; all by reading the whole history.
_LOOK = ("lock", "is open", "stale", "read", "count", "read")
LONG_LOCK = Protocol(
    ask=(LOCK, *_LOOK, UNLOCK, "read", "sample", LOCK, *_LOOK, "create", UNLOCK),
    rung=("keep", "read", "report", "prune"),
    last_rung=("keep", "read", "report"),
    end=(LOCK, "lock", "finish", UNLOCK, "loop"),
    beat=("beat",),
)
# What it is since: the point is drawn first; under the lock stands what has to be decided there, asked for by queries;
# stale trials are looked for by a query, now and then; a trial ends without the lock.
PRODUCT = Protocol(
    ask=(
        "queued by query", "count", "read", "read", "sample",
        LOCK, "lock", "is open", "queued by query", "count", "create", UNLOCK,
    ),
    rung=("keep", "read", "report", "prune"),
    last_rung=("keep", "read", "report"),
    end=("finish", "loop"),
    beat=("beat", "stale by query"),
)  # fmt: skip
# Besides, the history is read once per rung.
SHORT_LOCK = Protocol(
    ask=PRODUCT.ask, rung=("keep", "report", "prune"), last_rung=("keep", "report"), end=PRODUCT.end, beat=PRODUCT.beat
)
# What creates also counts, and locks the study as Optuna does; whether it is open need not be known to the moment.
BY_QUERY = Protocol(
    ask=("is open", "read", "sample", LOCK, "queued by query", "create by query", UNLOCK, "open"),
    rung=SHORT_LOCK.rung,
    last_rung=SHORT_LOCK.last_rung,
    end=SHORT_LOCK.end,
    beat=SHORT_LOCK.beat,
)
# Through Optuna's proxy there is neither a lock nor a heartbeat.
PROXY = Protocol(
    ask=("read", "sample", "create"), rung=PRODUCT.rung, last_rung=PRODUCT.last_rung, end=("finish", "loop")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to share a study.

    Attributes:
        name: For tables.
        protocol: What workers call.
        kind: Of storage, as in `costs.MeasuredCosts`.
        draw: How points are drawn.
        fetch: How trials that are new are read.
        walks: Does the search go through all its records to find the best, as it does now?
        slots_each: Trials that a worker has live at once.
    """

    name: str
    protocol: Protocol
    kind: str = "direct"
    draw: str = "copied"
    fetch: str = "fetch"
    walks: bool = True
    slots_each: int = 1


_BY_QUERY = Way(
    name="all by query", protocol=BY_QUERY, kind="slim", draw="limited", walks=False, fetch="fetch by query"
)
_SLIM = Way(name="slim history", protocol=SHORT_LOCK, kind="slim", draw="limited", walks=False)

WAYS: Mapping[str, Way] = {
    way.name: way
    for way in (
        Way(name="long lock", protocol=LONG_LOCK),
        Way(name="as it is", protocol=PRODUCT, draw="cut"),
        Way(name="as it is, 8 slots a worker", protocol=PRODUCT, draw="cut", slots_each=8),
        _SLIM,
        replace(_SLIM, name="slim history, 8 slots", slots_each=8),
        _BY_QUERY,
        replace(_BY_QUERY, name="all by query, 8 slots", slots_each=8),
        Way(name="proxy", protocol=PROXY, kind="proxy"),
    )
}
