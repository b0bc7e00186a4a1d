"""How far a study in PostgreSQL goes: calls measured on a real server, a simulation from them, and a check of it.

    python -m studies.scale.run [--only PART ...]

Parts, in this order: `operations` (fifteen minutes), `sampling` (four), `loop` (half a minute), `quality` (ten),
`cycles` (ten), `simulation` (fifteen), `largest` (ten), `validation` and `pages` (at once). Each writes its results
into results/ and leaves those of the others. Processor seconds hold on a busy machine too, within a factor of two; what
goes by the clock is `cycles` (and waiting for disks in `operations`), which should have the machine to itself.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from studies.gpu.entry import machine
from studies.postgres_server import postgres_server, why_not
from studies.scale.cycles import KINDS, measure_cycles
from studies.scale.durations import recorded_shape
from studies.scale.loop_cost import measure_loop
from studies.scale.operations import measure_operations, measure_proxy
from studies.scale.pages import write_plot, write_table
from studies.scale.planning import largest, simulate_all, validate
from studies.scale.sampling_cost import measure_sampling
from studies.scale.sampling_quality import measure_quality
from studies.scale.server_load import connect

RESULTS = Path(__file__).parent / "results"
N_FINISHED = (100, 1000, 10_000, 100_000)
N_RUNNING = (1, 64, 512, 4096)
N_CLIENTS = (1, 2, 4, 8, 16)
SAMPLED = ((10, 1), (100, 1), (1000, 1), (10_000, 1), (100_000, 1), (1000, 4096))

MEASURE: Mapping[str, Callable[[], Any]] = {
    "operations": lambda: [*measure_operations(N_FINISHED, N_RUNNING), *measure_proxy((100, 10_000), N_RUNNING)],
    "sampling": lambda: measure_sampling(SAMPLED),
    "loop": lambda: measure_loop((10, 100, 1000, 10_000, 100_000)),
    "quality": lambda: measure_quality(6, 800),
    "cycles": lambda: measure_cycles(KINDS, N_CLIENTS, (2.0, 0.0), duration_s=12.0),
}
PARTS = (*MEASURE, "simulation", "largest", "validation", "pages")


def main() -> int:
    """Run the wanted parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    wanted = parser.parse_args().only
    if (reason := why_not()) is not None:
        print(reason, file=sys.stderr)
        return 1
    RESULTS.mkdir(exist_ok=True)
    for part in PARTS:
        if part not in wanted:
            continue
        if part in MEASURE:
            _measure(part)
        elif part == "simulation":
            _simulate(_read("measured"))
        elif part == "largest":
            _find_largest(_read("measured"), _read("simulated"))
        elif part == "validation":
            _write("validated", {"rows": validate(_read("measured"))})
        else:
            found = {name: _read(name) for name in ("measured", "simulated", "validated")}
            write_table(RESULTS / "table.md", **found)
            write_plot(RESULTS / "plot.svg", found["measured"], found["simulated"])
    return 0


def _simulate(measured: Mapping[str, Any]) -> None:
    rows = []
    for row in simulate_all(measured):
        rows.append(row)
        print(row, flush=True)
    _write("simulated", {"rows": rows})


def _find_largest(measured: Mapping[str, Any], simulated: Mapping[str, Any]) -> None:
    found = []
    for row in largest(measured, simulated["rows"]):
        found.append(row)
        print(row, flush=True)
    _write("simulated", {**simulated, "largest": found})


def _measure(part: str) -> None:
    load = os.getloadavg()
    found = MEASURE[part]()
    measured = _read("measured")
    shape = recorded_shape()
    measured |= {
        "machine": {**machine("cpu"), **_versions()}, part: found,
        "shape": {"n": len(shape.trials), "stopped": shape.stopped, "spread": shape.spread, "left_out": shape.left_out},
        "when": {
            **measured.get("when", {}),
            part: {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M}", "load_before": load, "load_after": os.getloadavg()},
        },
    }  # fmt: skip
    _write("measured", measured)


def _versions() -> dict[str, str]:
    with postgres_server() as server, connect(server) as connection:
        shown = connection.execute("SHOW server_version").fetchone()
    names = ("optuna", "sqlalchemy", "psycopg", "grpcio")
    return {**{name: version(name) for name in names}, "postgresql": str(shown[0]) if shown else "unknown"}


def _read(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write(name: str, plain: Mapping[str, Any]) -> None:
    unfinished = RESULTS / f"{name}.json.part"
    unfinished.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(RESULTS / f"{name}.json")


if __name__ == "__main__":
    sys.exit(main())
