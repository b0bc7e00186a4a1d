"""Every method on every architecture: saved here, loaded in a fresh process, the same logits.

One process per architecture loads all adapters one after the other. It has PEFT and transformers, and imports
`advisor.modeling.tuners` when an adapter's configuration says that it is required, and not before: PEFT's own methods
are loaded without this package.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file

from advisor.catalog.method import OWN_PEFT_TYPES
from advisor.catalog.methods import METHODS as EVERY_METHOD
from advisor.catalog.tasks import find_task, head_of
from advisor.modeling.adapters import TASK_TYPES
from advisor.modeling.attachment import AttachedModel, attach_adapter
from advisor.modeling.base import BaseModel, BaseRequest, load_base_model, request_for
from advisor.modeling.tuners import AdapterFusionConfig, AdapterStackConfig, BottleneckConfig
from advisor.spec import Architecture
from tests.training.toy import LABELS, candidate

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
IDS = torch.randint(10, 300, (3, 11), generator=torch.Generator().manual_seed(0))
IDS[:, -1] = 2  # the end of a text
TASKS: dict[Architecture, str] = {
    "encoder-only": "clone-detection", "encoder-decoder": "code-summarization", "decoder-only": "code-summarization",
}  # fmt: skip
# Composed of trained adapters, which are trained first.
COMPOSED: dict[str, type[BottleneckConfig]] = {
    "adapter-stack": AdapterStackConfig, "adapter-fusion": AdapterFusionConfig,
}  # fmt: skip

LOAD = """
import copy, json, sys
job = json.loads(sys.argv[1])
import torch, transformers
from peft import PeftModel
from safetensors.torch import save_file
transformers.utils.logging.set_verbosity_error()
adapters = []
for folder in job["adapters"]:
    with open(folder + "/adapter_config.json") as file:
        adapters.append((json.load(file).get("requires", ""), folder))
ids = torch.tensor(job["ids"])
options = {"num_labels": job["n_labels"]} if job["class"].endswith("SequenceClassification") else {}
base = getattr(transformers, job["class"]).from_pretrained(job["base"], **options)
base.config.pad_token_id = job["pad"]
found = {}
for requires, folder in sorted(adapters):  # those that need nothing come first
    if requires:
        sys.path.insert(0, job["root"])
        statement = requires.split(" (")[0]
        assert statement == "import advisor.modeling.tuners", statement
        exec(statement)
    else:
        assert not any(name.startswith("advisor") for name in sys.modules), folder
    model = PeftModel.from_pretrained(copy.deepcopy(base), folder).eval()
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "Seq2Seq" in job["class"]:
        inputs["decoder_input_ids"] = ids
    with torch.no_grad():
        found[folder.rpartition("/")[2]] = model(**inputs).logits.contiguous()
save_file(found, job["output"])
"""
CLASSES: dict[Architecture, str] = {
    "encoder-only": "AutoModelForSequenceClassification", "encoder-decoder": "AutoModelForSeq2SeqLM",
    "decoder-only": "AutoModelForCausalLM",
}  # fmt: skip


def shake(model: torch.nn.Module) -> None:
    """Move every trained weight away from where it began."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def logits(attached: AttachedModel) -> torch.Tensor:
    inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    if attached.base.request.head == "seq2seq-lm":
        inputs["decoder_input_ids"] = IDS
    attached.model.eval()
    with torch.no_grad():
        outputs: Any = attached.model(**inputs)
    found: torch.Tensor = outputs.logits
    return found


def saved(base: BaseModel, method: str, folder: Path, **changes: object) -> torch.Tensor:
    """Save an adapter whose weights are not its first ones; return its logits and leave the base model bare."""
    chosen = candidate(Path(base.source), base.request.architecture, method, **changes)
    attached = attach_adapter(base, chosen, seed=5)
    shake(attached.model)
    found = logits(attached)
    attached.save(folder)
    assert attached.detach(), f"{method} left something on the base model"
    return found


def composed(request: BaseRequest, config_of: type[BottleneckConfig], folder: Path, below: list[str]) -> torch.Tensor:
    """Save an adapter that is composed of others; return its logits."""
    base = load_base_model(request, CPU)
    settings: dict[str, Any] = {"adapters": below, "reduction_factor": 8}
    config = config_of(task_type=TASK_TYPES[request.head], base_model_name_or_path=base.source, **settings)  # type: ignore[index]
    attached = AttachedModel(base=base, model=get_peft_model(base.model, config))  # type: ignore[arg-type]
    shake(attached.model)
    found = logits(attached)
    attached.save(folder)
    return found


def methods_for(architecture: Architecture, model_type: str) -> list[str]:
    head = head_of(find_task(TASKS[architecture]), architecture)
    possible = (method for slug, method in EVERY_METHOD.items() if slug not in ("full", *COMPOSED))
    return [one.slug for one in possible if one.supports(architecture, head) and one.works_on(model_type)]


def save_all(base: BaseModel, folder: Path) -> dict[str, torch.Tensor]:
    """Save an adapter of every method; return the logits of each."""
    methods = methods_for(base.request.architecture, base.model.config.model_type)
    found = {method: saved(base, method, folder / method) for method in methods}
    below = [str(folder / f"below-{number}") for number in range(2)]
    for number, place in enumerate(below):
        saved(base, "adapter-pfeiffer", Path(place), reduction_factor=4 * (number + 1))
    for method, config_of in COMPOSED.items():
        found[method] = composed(base.request, config_of, folder / method, below)
    return found


@pytest.mark.parametrize("architecture", list(TASKS))
def test_a_fresh_process_gives_the_logits_of_every_saved_adapter(
    architecture: Architecture, base_folder: Callable[..., Path], tmp_path: Path
) -> None:
    task = find_task(TASKS[architecture])
    request = request_for(candidate(base_folder(architecture), architecture), task, LABELS, CPU)
    base = load_base_model(request, CPU)
    wanted = save_all(base, tmp_path)
    assert len(wanted) > 40
    job = {
        "adapters": [str(tmp_path / method) for method in wanted], "base": base.source, "root": str(ROOT),
        "class": CLASSES[architecture], "n_labels": len(LABELS), "pad": base.tokenizer.pad_token_id,
        "ids": IDS.tolist(), "output": str(tmp_path / "logits.safetensors"),
    }  # fmt: skip
    command = [sys.executable, "-P", "-W", "ignore", "-c", LOAD, json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = load_file(tmp_path / "logits.safetensors")
    assert found.keys() == wanted.keys()
    plain = logits(AttachedModel(base=base, model=base.model))
    for method, expected in wanted.items():
        assert torch.allclose(found[method], expected, atol=1e-5), method
        at_the_text = found[method][:, -plain.shape[1] :]  # a soft prompt of a decoder stands before it
        assert not torch.allclose(at_the_text, plain, atol=1e-3), f"{method} changes nothing"
        config = json.loads((tmp_path / method / "adapter_config.json").read_text())
        assert bool(config.get("requires")) == (config["peft_type"] in OWN_PEFT_TYPES), method
