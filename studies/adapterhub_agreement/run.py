"""Do our bottleneck adapters compute what those of the AdapterHub library compute?

AdapterHub's package needs transformers 4, so it runs in an environment of its own (`adapterhub_side.py`) and leaves
base models, random adapter weights and logits. Here the same base models get our adapters through PEFT, the weights are
copied over, and the logits are compared.

Usage:
    python -m venv OTHER && OTHER/bin/pip install torch adapters
    python -m studies.adapterhub_agreement.run --python OTHER/bin/python
"""

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BartForConditionalGeneration,
)

from advisor.modeling.quiet import quiet_libraries
from advisor.modeling.tuners import (
    AdapterFusionConfig,
    AdapterStackConfig,
    BottleneckConfig,
    CompacterConfig,
    MamConfig,
)
from advisor.modeling.tuners.bottleneck import BesideLayer, BottleneckLayer
from advisor.modeling.tuners.insertion import layers_of
from advisor.modeling.tuners.phm import PHMLinear

HERE = Path(__file__).parent
TOLERANCE = 1e-5
KINDS = {
    "bert": (AutoModelForSequenceClassification, "SEQ_CLS"),
    "roberta": (AutoModelForSequenceClassification, "SEQ_CLS"),
    "bart": (BartForConditionalGeneration, "SEQ_2_SEQ_LM"),
    "t5": (AutoModelForSeq2SeqLM, "SEQ_2_SEQ_LM"),
    "t5-unbiased": (AutoModelForSeq2SeqLM, "SEQ_2_SEQ_LM"),
    "gpt2": (AutoModelForCausalLM, "CAUSAL_LM"),
    "llama": (AutoModelForCausalLM, "CAUSAL_LM"),
}
_TRAINED = {"reduction_factor": 4, "non_linearity": "relu", "scaling": 1.0}
METHODS = {
    "houlsby": lambda: BottleneckConfig(placement="houlsby", reduction_factor=4),
    "pfeiffer": lambda: BottleneckConfig(placement="pfeiffer", reduction_factor=4, non_linearity="relu"),
    "parallel": lambda: BottleneckConfig(placement="parallel", reduction_factor=2, non_linearity="relu", scaling=4.0),
    # AdapterHub's "gelu" is transformers' "gelu" as well.
    "compacter": lambda: CompacterConfig(reduction_factor=4),
    "stack": lambda: AdapterStackConfig(
        placement="pfeiffer", trained=[_TRAINED], reduction_factor=4, non_linearity="relu"
    ),
    "fusion": lambda: AdapterFusionConfig(placement="pfeiffer", trained=[_TRAINED, _TRAINED]),
    "mam": lambda: MamConfig(num_prefix_tokens=6, prefix_hidden_size=16),
}
# Where AdapterHub reads the residual stream and we, as in the paper's equation, the normalised input of the sublayer.
DIFFERENT = {(model, method) for model in ("t5", "t5-unbiased", "gpt2", "llama") for method in ("parallel", "mam")}
# The module whose input is the residual stream before feed-forward; in T5 the sublayer around `DenseReluDense`.
RESIDUAL = {"gpt2": "ln_2", "llama": "post_attention_layernorm"}
# Our place of an adapter -> AdapterHub's.
PLACES = (
    (r"(.*attention\.output)\.dense", r"\1"),
    (r"(.*\.output)\.(?:dense|LayerNorm)", r"\1"),
    (r"(.*block\.\d+\.layer\.\d+)(?:\.SelfAttention\.o|\.DenseReluDense|\.DenseReluDense\.wo)?", r"\1"),
    (r"(.*)\.(?:self_attn\.(?:out_proj|o_proj)|attn\.c_proj)", r"\1.attention_adapters"),
    (r"(.*(?:layers|h)\.\d+)(?:\.fc2|\.final_layer_norm|\.mlp|\.mlp\.c_proj|\.mlp\.down_proj)?", r"\1.output_adapters"),
)


def main() -> None:
    """Compare, and write results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="interpreter of the environment that has `adapters`")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [asked.python, "-W", "ignore", HERE / "adapterhub_side.py", folder], check=True, stderr=subprocess.DEVNULL
        )
        rows = [compare(folder, model, method) for model in KINDS for method in METHODS]
        theirs = json.loads((folder / "versions.json").read_text())
    ours = {package: version(package) for package in ("peft", "transformers", "torch")}
    results = {"tolerance": TOLERANCE, "adapterhub": theirs, "ours": ours, "rows": rows}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "agreement.json").write_text(json.dumps(results, indent=1) + "\n")
    for row in rows:
        same_input = row.get("largest_difference_reading_the_residual")
        note = "" if same_input is None else f"; reading the residual stream as AdapterHub does: {same_input:.1e}"
        print(f"{row['model']:12} {row['method']:10} {row['largest_difference']:.1e}  {row['verdict']}{note}")


def compare(folder: Path, model_name: str, method: str) -> dict[str, Any]:
    """Return the largest difference between logits of one model with one method."""
    theirs = load_file(folder / f"{model_name}.{method}.safetensors")
    kind, task_type = KINDS[model_name]
    config: PeftConfig = METHODS[method]()
    config.task_type = task_type
    with quiet_libraries():
        base = kind.from_pretrained(folder / model_name, attn_implementation="eager")
    with torch.no_grad():
        untouched = base.eval()(**inputs(folder, model_name)).logits
    model = get_peft_model(base, config).eval()
    n_copied = sum(copy_weights(model, theirs))
    with torch.no_grad():
        logits = model(**inputs(folder, model_name)).logits
    difference = (logits - theirs["logits"]).abs().max().item()
    row: dict[str, Any] = {}
    if (model_name, method) in DIFFERENT:
        row["largest_difference_reading_the_residual"] = reading_the_residual(model, folder, model_name, theirs)
    expected = "different" if row else "equal"
    found = "equal" if difference <= TOLERANCE else "different"
    return {
        **row,
        "model": model_name,
        "method": method,
        "weights_copied": n_copied,
        "largest_difference": difference,
        "change_by_the_adapter": (logits - untouched).abs().max().item(),
        "verdict": found if found == expected else f"{found}, {expected} was expected",
    }


def reading_the_residual(model: Any, folder: Path, model_name: str, theirs: dict[str, torch.Tensor]) -> float:
    """Return the largest difference when our parallel adapters read what AdapterHub's read."""
    base = model.base_model.model
    modules = dict(base.named_modules())
    for place in layers_of(base, base.config.model_type):
        for name, module in modules.items():
            if isinstance(module, BesideLayer) and name.startswith(place.name + "."):
                module.watch.remove()
                residual = modules[
                    f"{place.name}.{RESIDUAL[model_name]}" if model_name in RESIDUAL else name.rsplit(".", 1)[0]
                ]
                module.watch = residual.register_forward_pre_hook(module._remember, with_kwargs=True)
    with torch.no_grad():
        logits = model(**inputs(folder, model_name)).logits
    return float((logits - theirs["logits"]).abs().max())


def inputs(folder: Path, model_name: str) -> dict[str, torch.Tensor]:
    """Return what both sides read."""
    read: dict[str, torch.Tensor] = load_file(folder / "inputs.safetensors")
    return {**read, "decoder_input_ids": read["input_ids"]} if KINDS[model_name][1] == "SEQ_2_SEQ_LM" else read


def copy_weights(model: nn.Module, theirs: dict[str, torch.Tensor]) -> Iterator[int]:
    """Copy AdapterHub's weights into our adapters; yield how many numbers each copy has."""
    used = {"logits"}

    def give(parameter: nn.Parameter, key: str, transform: Any = None) -> int:
        value = theirs[key]
        parameter.data.copy_(value if transform is None else transform(value))
        used.add(key)
        return value.numel()

    rule = next((key for key in theirs if key.endswith("phm_rule")), None)
    for name, module in model.named_modules():
        if isinstance(module, BottleneckLayer):
            place = adapterhub_place(name.removeprefix("base_model.model."))
            start = next(key for key in theirs if key.startswith(f"{place}.adapters.x.")).split("adapters.x.")[0]
            if "default" in module.bottleneck_fusion:
                fusion = f"{start}adapter_fusion_layer.x,y."
                for key, parameter in module.bottleneck_fusion["default"].named_parameters():
                    yield give(parameter, fusion + key)
            for part, layer, owner in projections(module):
                key = f"{start}adapters.{owner}.{part}"
                if isinstance(layer, PHMLinear):
                    assert rule is not None
                    yield give(layer.rule, rule)
                    yield give(layer.left, f"{key}.W_left")
                    yield give(layer.right, f"{key}.W_right")
                    yield give(layer.bias, f"{key}.b")
                else:
                    yield give(layer.weight, f"{key}.weight")
                    yield give(layer.bias, f"{key}.bias")
    for stack, bank in getattr(model.base_model, "mam_prefix", {"default": {}})["default"].items():
        keys = [one for one in theirs if one.endswith("prefix.wte.weight")]
        key = keys[0] if len(keys) == 1 else next(one for one in keys if f".{adapterhub_stack(stack)}_prefix." in one)
        start = key.removesuffix("wte.weight")
        yield give(bank.embedding, key)
        yield give(bank.lower.weight, f"{start}control_trans.0.weight")
        yield give(bank.lower.bias, f"{start}control_trans.0.bias")
        yield give(bank.upper.weight, f"{start}control_trans.2.weight")
        yield give(bank.upper.bias, f"{start}control_trans.2.bias")
    left = set(theirs) - used
    if left:
        raise SystemExit(f"weights without a place: {sorted(left)[:5]}")


def projections(module: BottleneckLayer) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield our projections, each with its name and its adapter's name at AdapterHub: the lowest adapter is x."""
    trained = list(module.bottleneck_trained["default"]) if "default" in module.bottleneck_trained else []
    for adapter, owner in zip(trained, "xy", strict=False):
        yield "adapter_down.0", adapter.down, owner
        yield "adapter_up", adapter.up, owner
    if "default" in module.bottleneck_down:
        yield "adapter_down.0", module.bottleneck_down["default"], "xy"[len(trained)]
        yield "adapter_up", module.bottleneck_up["default"], "xy"[len(trained)]


def adapterhub_stack(stack: str) -> str:
    """Return AdapterHub's name of a stack of attention sublayers in an encoder-decoder."""
    if "EncDec" in stack or "encoder_attn" in stack:
        return "cross"
    return "encoder" if "encoder" in stack else "self"


def adapterhub_place(name: str) -> str:
    """Return where AdapterHub has the adapter that we have on a module."""
    for pattern, place in PLACES:
        if re.fullmatch(pattern, name):
            return re.sub(f"^{pattern}$", place, name)
    raise SystemExit(f"no place known for {name}")


if __name__ == "__main__":
    main()
