"""What trackers hold of a run folder, as their own readers say; one shape for all of them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(kw_only=True)
class Held:
    """One run of a tracker.

    Attributes:
        params: By name, as text.
        values: Name of the value -> (step, value) by step; a value that came in twice is there twice.
        facts: By name.
        last: Values that are known at the end only.
        ended: The tracker's word for how it ended.
        files: Names of the files kept with it.
        parent: Key of the run that it belongs to, where the tracker knows that.
    """

    params: dict[str, str] = field(default_factory=dict)
    values: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    ended: str = ""
    files: set[str] = field(default_factory=set)
    parent: str = ""


def read_mlflow(folder: Path) -> dict[str, Held]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("peft-advisor")
    runs = client.search_runs([experiment.experiment_id])
    keys = {run.info.run_id: run.data.tags["peft_advisor.run"].partition("/")[2] for run in runs}
    assert len(set(keys.values())) == len(keys), "a run is there twice"
    held = {}
    for run in runs:
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        held[keys[run.info.run_id]] = Held(
            params=dict(run.data.params),
            values={name: sorted((one.step, one.value) for one in points) for name, points in history.items()},
            facts=dict(run.data.tags),
            last=dict(run.data.metrics),
            ended=run.info.status,
            files={one.path for one in client.list_artifacts(run.info.run_id)},
            parent=keys.get(run.data.tags.get("mlflow.parentRunId", ""), ""),
        )
    return held


def read_tensorboard(folder: Path) -> dict[str, Held]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    held = {}
    for place in (folder / "tensorboard").iterdir():
        events = EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0}).Reload()
        names = events.Tags()["scalars"]
        # Files of the same second are read in the order of their processes' numbers.
        one = Held(values={name: sorted((at.step, at.value) for at in events.Scalars(name)) for name in names})
        one.last = {name.removeprefix("end/"): points[-1][1] for name, points in one.values.items()}
        found = events.summary_metadata.get("_hparams_/session_start_info")
        if found is not None:
            told = HParamsPluginData.FromString(found.plugin_data.content).session_start_info.hparams
            one.params = {name: str(getattr(value, value.WhichOneof("kind"))) for name, value in told.items()}
        for tag in events.Tags()["tensors"]:
            if tag.endswith("text_summary"):
                for tensor in events.Tensors(tag):
                    rows = tensor.tensor_proto.string_val[0].decode().splitlines()[2:]
                    one.facts |= dict(row.strip("| ").split(" | ", 1) for row in rows)
        one.ended = one.facts.get("state", "")
        held[place.name] = one
    return held


def read_wandb(folder: Path) -> dict[str, Held]:
    """Read the files that `wandb sync` uploads; parts of one run are put together as it does."""
    import json

    held: dict[str, Held] = {}
    for path in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda one: one.stat().st_mtime_ns):
        key = path.stem.removeprefix("run-").partition("-")[2]
        one = held.setdefault(key, Held())
        one.files |= {file.name for file in (path.parent / "files").iterdir()} - {"config.yaml", "wandb-summary.json"}
        for record in _wandb_records(path):
            match record.WhichOneof("record_type"):
                case "run":
                    one.params |= {item.key: str(json.loads(item.value_json)) for item in record.run.config.update}
                    one.facts |= {"command": one.params.get("command", ""), "host": record.run.host}
                    one.parent = record.run.run_group
                case "history":
                    row = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
                    for name, value in row.items():
                        if not name.startswith("_"):
                            points = one.values.setdefault(name, [])
                            points.append((record.history.step.num, float(json.loads(value))))
                case "summary":
                    for item in record.summary.update:
                        value = json.loads(item.value_json)
                        name = "/".join(item.nested_key) or item.key
                        one.facts[name] = str(value)
                        if isinstance(value, int | float):
                            one.last[name] = float(value)
                case "exit":
                    one.ended = str(record.exit.exit_code)
    return held


def _wandb_records(path: Path) -> Iterator[object]:
    """Read W&B's transaction log: LevelDB's log format after a header of seven bytes, holding protocol buffers.

    https://github.com/google/leveldb/blob/main/doc/log_format.md
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    assert content.startswith(b":W&B")
    position, whole = 7, b""
    while True:
        left = 32768 - position % 32768
        position += left if left < 7 else 0
        header = content[position : position + 7]
        if len(header) < 7 or header[6] == 0:
            return
        size = int.from_bytes(header[4:6], "little")
        whole += content[position + 7 : position + 7 + size]
        position += 7 + size
        if header[6] in (1, 4):  # all of it, or its last part
            yield Record.FromString(whole)
            whole = b""


_TRACKIO_SCRIPT = """
import json, sys
from trackio import Api
from trackio.sqlite_storage import SQLiteStorage
runs = {}
for run in Api().runs("peft-advisor"):
    assert run.name not in runs, "a run is there twice"
    logs = SQLiteStorage.get_logs("peft-advisor", run.name, run_id=run.id)
    runs[run.name] = {"config": run.config, "logs": logs}
print(json.dumps(runs))
"""


def read_trackio(folder: Path) -> dict[str, Held]:
    """Read in a process of its own: Trackio decides on its folder when it is imported."""
    import json

    environment = {**os.environ, "TRACKIO_DIR": str(folder / "trackio"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", _TRACKIO_SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    held = {}
    for name, run in json.loads(done.stdout.splitlines()[-1]).items():
        config = {key: str(value) for key, value in run["config"].items()}
        one = held[name] = Held(params=config, facts=config, ended=config.get("ended", ""), parent=config["_Group"])
        for row in run["logs"]:
            for key in row.keys() - {"step", "timestamp"}:
                one.values.setdefault(key, []).append((row["step"], row[key]))
                one.last[key] = row[key]
    one_files = (folder / "trackio" / "artifacts").rglob("*")
    if "study" in held:
        held["study"].files = {str(path.stat().st_size) for path in one_files if path.is_file()}
    return held


READERS: Mapping[str, Callable[[Path], dict[str, Held]]] = {
    "mlflow": read_mlflow,
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
    "trackio": read_trackio,
}
