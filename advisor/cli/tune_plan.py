"""What `tune` says of search, finals, memory and time before the first step."""
# ruff: noqa: TID253

import shlex

from advisor.report.formatting import duration, gib, listed, metric_title, number, plural
from advisor.tuning.events import Planned
from advisor.tuning.shared_study import VARIABLE


def plan_facts(event: Planned) -> list[tuple[str, str]]:
    """Return names and texts: how many trials and final runs of how many steps, memory, time, device, how to join."""
    plan = event.plan
    rungs = listed([f"{step:,}" for step in plan.rung_steps])
    search = f"{plural(plan.n_trials, 'trial')}, looked at after {rungs} steps"
    if plan.target is not None:
        search += f", until {metric_title(plan.primary_metric)} {number(plan.target)}"
    finals = "none: one seed decides"
    if plan.final_seeds > 1 and event.n_finalists:
        more = plan.final_seeds - 1
        finals = (
            f"{'the trial' if event.n_finalists == 1 else f'up to {event.n_finalists} trials'} again with "
            f"{plural(more, 'other seed')}: {event.n_finalists * more} runs of {plan.rung_steps[-1]:,} steps at most"
        )
    limit = f"at most {duration(plan.time_limit_s)} with final evaluation" if plan.time_limit_s is not None else ""
    expected = "measured at the first rung" if event.expected_s is None else f"about {duration(event.expected_s)} more"
    memory = "no estimate for this base model"
    if event.memory_bytes is not None:
        memory = f"about {gib(event.memory_bytes)} on a GPU for the first trial, by estimate ({event.memory_basis})"
    decided = f"{plan.sampler} and {plan.pruner} of Optuna"
    weighed = []
    if len(plan.objectives) > 1:
        decided = f"{plan.sampler} of Optuna; every trial is trained to its end"
        costs = listed([one for one in plan.objectives if one != "quality"])
        weighed = [("Objectives", f"{metric_title(plan.primary_metric)}, weighed against {costs} of prediction")]
    device = plan.device
    if len(event.devices) > 1:
        here = "" if all(one.endswith("by Ray") for one in event.devices) else ", this process among them"
        device += f"; {len(event.devices)} workers ({listed(list(event.devices))}){here}"
    return [
        ("Search", search),
        *weighed,
        ("Decided by", decided),
        ("Finals", finals),
        ("Memory", memory),
        ("Time", "; ".join(filter(None, (limit, expected)))),
        ("Device", device),
        *([("Join with", _joining_command(event))] if event.study else []),
    ]


def _joining_command(event: Planned) -> str:
    """Return what another machine runs to train trials of this study; it ends the line, so that it can be copied."""
    storage = ["--storage", event.storage] if event.storage else []
    command = shlex.join(["peft-advisor", "worker", *storage, "--study", event.study])
    return command if event.storage else f"{VARIABLE} set as here: {command}"
