"""Loads a saved adapter as any user would, with PEFT and transformers alone, and predicts.

Run as `python reload_script.py job.json [job.json ...]` in a process of its own; it imports nothing of the
package that wrote the adapter, but for the tuners of methods that PEFT does not ship. A job says what to load and where
the tokenized batches are; one line per prediction goes to its output file. Only the standard library, torch,
transformers, safetensors and peft are needed.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from safetensors.torch import save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
)

AUTO_CLASSES = {
    "sequence-classification": AutoModelForSequenceClassification,
    "causal-lm": AutoModelForCausalLM,
    "seq2seq-lm": AutoModelForSeq2SeqLM,
    "embedding": AutoModel,
}
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def load(job: dict[str, Any]) -> tuple[Any, Any]:
    """Return model and tokenizer."""
    if job["tuners"]:
        sys.path.insert(0, job["tuners"])
        importlib.import_module("advisor.modeling.tuners")
    options: dict[str, Any] = {"dtype": DTYPES[job["weights"]], "use_safetensors": True}
    if job["quantization"]:
        options["quantization_config"] = BitsAndBytesConfig.from_dict(job["quantization"])
    if job["quantization"] or job["device_map"]:
        options["device_map"] = job["device_map"] or {"": job["device"]}
    if job["n_labels"]:
        options["num_labels"] = job["n_labels"]
    auto_class = AutoModelForTextEncoding if job["is_encoder_of_two"] else AUTO_CLASSES[job["head"]]
    tokenizer = AutoTokenizer.from_pretrained(job["adapter"])
    if job["is_full"]:
        model = auto_class.from_pretrained(job["adapter"], **options)
    else:
        base_name = PeftConfig.from_pretrained(job["adapter"]).base_model_name_or_path
        base = auto_class.from_pretrained(base_name, **options)
        base.config.pad_token_id = tokenizer.pad_token_id
        model = PeftModel.from_pretrained(base, job["adapter"])
    if not options.get("device_map"):
        model.to(job["device"])
    return model.eval(), tokenizer


def predictions(model: Any, tokenizer: Any, inputs: dict[str, Any], job: dict[str, Any]) -> list[Any]:
    """Return one vector per row of a batch, or the fields of its line: class id, list of class ids, or text."""
    if job["head"] == "embedding":
        return list(vectors(model, inputs))
    if job["head"] == "sequence-classification":
        logits = model(**inputs).logits.cpu()
        said = classes(logits, job)
        return [{"predicted": one, "logits": row} for one, row in zip(said, logits.tolist(), strict=True)]
    settings = GenerationConfig.from_dict(job["generation"])
    generated = model.generate(**inputs, generation_config=settings)
    if job["head"] == "causal-lm":
        generated = generated[:, inputs["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(generated, skip_special_tokens=True)
    return [{"predicted": text.strip()} for text in texts]


def classes(logits: torch.Tensor, job: dict[str, Any]) -> list[Any]:
    """Return one class id or one list of class ids per row, by the threshold of the job where it has one."""
    cut = job["threshold"]
    if job["is_multi_label"]:
        chosen = logits >= job["label_logit"] if cut is None else torch.sigmoid(logits.double()) >= cut
        return [[number for number, has in enumerate(row) if has] for row in chosen.tolist()]
    if cut is None:
        return list(logits.argmax(dim=-1).tolist())
    return list((torch.softmax(logits.double(), dim=-1)[:, 1] >= cut).long().tolist())


def vectors(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Return the mean of the last hidden states over the tokens of each row, of length 1; on the host."""
    mask = inputs["attention_mask"].unsqueeze(-1)
    hidden = model(**inputs).last_hidden_state[:, -mask.shape[1] :].float()  # a soft prompt stands before the text
    return torch.nn.functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=-1).cpu()


def run(job: dict[str, Any]) -> None:
    """Predict every batch of a job and write its output: a line per row, or one tensor of all vectors."""
    embedded: dict[int, torch.Tensor] = {}
    model, tokenizer = load(job)
    half = DTYPES[job["precision"]]
    autocast = torch.autocast(torch.device(job["device"]).type, dtype=half, enabled=job["precision"] != "fp32")
    with (
        Path(job["batches"]).open(encoding="utf-8") as batches,
        Path(job["output"]).open("w", encoding="utf-8") as output,
        torch.no_grad(),
        autocast,
    ):
        for line in batches:
            batch = json.loads(line)
            inputs = {name: torch.tensor(rows, device=job["device"]) for name, rows in batch["inputs"].items()}
            for row, found in zip(batch["rows"], predictions(model, tokenizer, inputs, job), strict=True):
                if job["head"] == "embedding":
                    embedded[row] = found
                else:
                    output.write(json.dumps({"row": row, **found}) + "\n")
    if embedded:
        save_file({"vectors": torch.stack([embedded[row] for row in sorted(embedded)])}, job["vectors"])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(json.loads(Path(name).read_text(encoding="utf-8")))
