"""The table and the plot, from what stands in results/."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from studies.scale.planning import BUSY, LARGEST_AT, MEANS_S, N_SLOTS, SERVER_CORES, SIZES
from studies.scale.protocols import WAYS

Rows = Sequence[Mapping[str, Any]]
_CALLS = (
    "is open", "lock", "stale", "stale by query", "queued by query", "count", "read", "create", "create by query",
    "open", "beat", "keep", "report", "prune", "finish",
)  # fmt: skip


def write_table(
    path: Path, measured: Mapping[str, Any], simulated: Mapping[str, Any], validated: Mapping[str, Any]
) -> None:
    """Write all tables."""
    lines = [
        *_shape(measured["shape"]), *_largest(simulated["largest"]), *_simulated(simulated["rows"]),
        *_validated(validated["rows"]), *_operations(measured["operations"]), *_sampling(measured["sampling"]),
        *_loop(measured["loop"]),        *_quality(measured["quality"]),
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(title: str, head: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    rule = "|" + "---|" + "---:|" * (len(head) - 1)
    return [f"## {title}", "", f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _shape(shape: Mapping[str, Any]) -> list[str]:
    rows = ((str(rung), f"{100 * share:.1f} %") for rung, share in enumerate(shape["stopped"], start=1))
    title = f"Trials that end at each rung ({shape['n']} recorded trainings, spread {shape['spread']:.2f} of the mean)"
    return _table(title, ("rung", "share"), rows)


def _largest(largest: Rows) -> list[str]:
    found = {(row["way"], row["mean_s"]): row for row in largest}

    def shown(way: str, mean_s: float) -> str:
        row = found[way, mean_s]
        return "none" if row["slots"] is None else f"{'≥ ' if row['is_more'] else ''}{row['slots']:,}"

    head = ("way", *(f"trials of {mean_s:.0f} s" for mean_s in MEANS_S))
    title = f"Largest number of slots that train at least {BUSY:.0%} of the time (simulated, {LARGEST_AT:,} finished)"
    return _table(title, head, ((way, *(shown(way, mean_s) for mean_s in MEANS_S)) for way in WAYS))


def _simulated(rows: Rows) -> list[str]:
    lines = []
    for mean_s in MEANS_S:
        for size in SIZES:
            own = [row for row in rows if (row["mean_s"], row["finished"]) == (mean_s, size)]
            title = f"Simulated: trials of {mean_s:.0f} s, {size:,} finished trials, server of {SERVER_CORES} cores"
            lines += _table(
                title, ("way: busy / ask p50 / p99 / server / lock", *(f"{n:,} slots" for n in N_SLOTS)),
                ((way, *(_cell(row) for row in own if row["way"] == way)) for way in WAYS),
            )  # fmt: skip
    return lines


def _cell(row: Mapping[str, Any]) -> str:
    return (
        f"{row['busy']:.1%} / {_seconds(row['ask_p50_s'])} / {_seconds(row['ask_p99_s'])} / {row['server_use']:.0%} / "
        f"{row['lock_use']:.0%}"
    )


def _seconds(duration_s: float | None) -> str:
    if duration_s is None or duration_s != duration_s:
        return "–"
    return f"{duration_s:.2g} s" if duration_s < 100 else f"{duration_s:.0f} s"


def _per_trial_s(cores: float, trials_per_s: float) -> str:
    return f"{cores / trials_per_s:.2f}" if trials_per_s else "–"


def _validated(rows: Rows) -> list[str]:
    head = (
        "clients", "trial s", "processes", "busy: real", "simulated", "trials/s: real", "simulated", "ask p50: real",
        "simulated", "processor s per trial: real", "simulated", "cores of others",
    )  # fmt: skip
    shown = (
        (
            row["kind"], f"{row['mean_s']:g}", str(row["clients"]), f"{row['busy']:.0%}",
            f"{row['simulated']['busy']:.0%}", f"{row['trials_per_s']:.2f}", f"{row['simulated']['trials_per_s']:.2f}",
            _seconds(row["ask_p50_s"]), _seconds(row["simulated"]["ask_p50_s"]),
            _per_trial_s(row["client_cores"] + row["proxy_cores"] + row["server_cores"], row["trials_per_s"]),
            _per_trial_s(row["simulated"]["cores"], row["simulated"]["trials_per_s"]), f"{row['other_cores']:.2f}",
        )
        for row in rows
    )  # fmt: skip
    return _table("Real clients on one machine, and the same simulated", head, shown)


def _operations(rows: Rows) -> list[str]:
    lines = []
    for kind in ("direct", "slim", "proxy"):
        own = [row for row in rows if row["kind"] == kind]
        calls = [
            call
            for call in (*_CALLS, "cold", "fetch", "fetch by query", "parse")
            if any(call in row["calls"] for row in own)
        ]
        head = ("call", *(f"{row['finished']:,} / {row['running']:,}" for row in own))
        lines += _table(
            f"Measured, {kind}: ms of client{' + proxy' if kind == 'proxy' else ''} + server processor, by finished / "
            "running trials (fetch, parse: per trial)",
            head, ((call, *(_cost(row["calls"].get(call), kind) for row in own)) for call in calls),
        )  # fmt: skip
    return lines


def _cost(found: Mapping[str, float] | None, kind: str) -> str:
    if found is None:
        return ""
    parts = ("client_s", "proxy_s", "server_s") if kind == "proxy" else ("client_s", "server_s")
    return " + ".join(f"{1e3 * found[part]:.2g}" if found[part] < 0.1 else f"{1e3 * found[part]:.0f}" for part in parts)


def _sampling(rows: Rows) -> list[str]:
    sizes = list(dict.fromkeys((row["finished"], row["running"]) for row in rows))
    head = ("draw", *(f"{finished:,} / {running:,}" for finished, running in sizes))
    draws = list(dict.fromkeys(row["draw"] for row in rows))
    cells = {(row["draw"], row["finished"], row["running"]): row for row in rows}
    return _table(
        "Drawing one point: CPU seconds, MB of memory beside the history, by finished / running trials", head,
        ((draw, *(_drawn(cells[draw, *size]) for size in sizes)) for draw in draws),
    )  # fmt: skip


def _drawn(row: Mapping[str, Any]) -> str:
    return f"{row['cpu_s']:.3f} s, {row['peak_bytes'] / 1e6:.1f} MB"


def _loop(rows: Rows) -> list[str]:
    head = ("of the search loop, CPU seconds of one call", *(f"{row['finished']:,} finished" for row in rows))
    names = {"best_s": "the best of the records", "needed_s": "which adapters are needed"}
    shown = ((text, *(f"{row[name]:.2g}" for row in rows)) for name, text in names.items())
    return _table("What the search looks through at the end of a trial", head, shown)


def _quality(quality: Mapping[str, Any]) -> list[str]:
    names = ("regret_of_chosen", "lowest_regret", "mean_regret_of_last")
    head = ("seed, history", "regret of the trial that would be picked", "lowest regret", "mean regret of the last 200")
    title = (
        f"Sampling from the {quality['n_best']} best and {quality['n_latest']} latest trials against all, studies of "
        f"{quality['n_trials']} trials"
    )
    shown = (
        (f"{row['seed']}, {row['history']}", *(f"{row[name]:.4f}" for name in names)) for row in quality["studies"]
    )
    return _table(title, head, shown)


def write_plot(path: Path, measured: Mapping[str, Any], simulated: Mapping[str, Any]) -> None:
    """Draw the share of busy slots by cluster, and the cost of an ask by study."""
    plt.rcParams["svg.hashsalt"] = "scale"
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.8))
    for axis, mean_s in zip(axes, MEANS_S, strict=False):
        for way in WAYS:
            own = [
                row for row in simulated["rows"]
                if (row["way"], row["mean_s"], row["finished"]) == (way, mean_s, LARGEST_AT)
            ]  # fmt: skip
            axis.plot([row["slots"] for row in own], [100 * row["busy"] for row in own], marker="o", label=way)
        axis.axhline(100 * BUSY, color="grey", linewidth=0.8, linestyle="--")
        axis.set(xscale="log", ylim=(0, 103), xlabel="slots", ylabel="% of slots' time that is training")
        axis.set_xticks(N_SLOTS, [f"{n:,}" for n in N_SLOTS])
        axis.set_title(f"trials of {mean_s:.0f} s, {LARGEST_AT:,} finished")
    axes[0].legend(fontsize=7, loc="lower left")
    _plot_draws(axes[2], measured["sampling"])
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _plot_draws(axis: Any, rows: Rows) -> None:
    for draw in dict.fromkeys(row["draw"] for row in rows):
        own = [row for row in rows if row["draw"] == draw and row["running"] == 1]
        axis.plot([row["finished"] for row in own], [row["cpu_s"] for row in own], marker="o", label=draw)
    axis.set(xscale="log", yscale="log", xlabel="finished trials", ylabel="CPU seconds", title="drawing one point")
    axis.legend(fontsize=8)
