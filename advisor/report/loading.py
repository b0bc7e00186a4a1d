"""Code that loads the saved adapter for the head in question: what a reader copies first.

It needs PEFT and transformers only (and this package, for methods that PEFT does not ship), and reads one example
exactly as training did. Not covered: batches; text that
spells a control token which the tokenizer does not mark as special.
"""

from advisor.candidates import Candidate
from advisor.catalog.loaders import needs_own_tuners
from advisor.catalog.prompts import SUFFIX_SHARE, Prompt, prompt_of
from advisor.catalog.tasks import Head, Task, find_task, head_of
from advisor.report.run_folder import RunFolder

AUTO_CLASSES: dict[Head, str] = {
    "sequence-classification": "ModelForSequenceClassification",
    "causal-lm": "ModelForCausalLM",
    "seq2seq-lm": "ModelForSeq2SeqLM",
}
_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def loading_code(run: RunFolder, folder: str = "best_adapter") -> str | None:
    """Return Python that loads the adapter of a finished run and answers one example.

    Args:
        run: The run; None is returned while it has no best trial.
        folder: Where the adapter is, as seen from where the code will run.
    """
    contender = run.contender("best trial")
    if run.result is None or contender is None or contender.candidate is None:
        return None
    result = run.result
    # A class that only other splits have is none of the model's.
    splits = [result.data["train"]] if "train" in result.data else list(result.data.values())
    labels = {label for facts in splits for label in facts.label_counts}
    return code_for(
        find_task(result.task), contender.candidate,
        n_labels=len(labels), folder=folder, prompt=result.prompt, threshold=result.threshold,
    )  # fmt: skip


def code_for(
    task: Task,
    candidate: Candidate,
    *,
    n_labels: int,
    folder: str,
    prompt: Prompt | None = None,
    threshold: float | None = None,
) -> str:
    """Return the code for a task and a candidate.

    Args:
        task: What the adapter does.
        candidate: What was trained.
        n_labels: Classes; unused by language models.
        folder: Where the adapter is, as seen from where the code will run.
        prompt: What a decoder was trained to read; None for the plain template, as in results of earlier versions.
        threshold: See `TuningResult.threshold`.
    """
    if task.form == "retrieval":
        return _search(candidate, folder)
    head = head_of(task, candidate.architecture)
    full = candidate.method == "full"
    model_class = ("Auto" if full else "AutoPeft") + AUTO_CLASSES[head]
    classes = ["AutoTokenizer"] + ([model_class] if full else [])
    arguments = ["folder", f'dtype="{_DTYPES[candidate.precision]}"']
    if head == "sequence-classification":
        classes.append("AutoConfig")
        arguments += [] if full else [f"num_labels={n_labels}"]
    if candidate.quantization is not None and not full:
        classes.append("BitsAndBytesConfig")
        arguments.append("quantization_config=quantization")
    lines = _registering(candidate) + (["import torch"] if head == "causal-lm" else [])
    lines += [] if full else [f"from peft import {model_class}"]
    lines += [f"from transformers import {', '.join(sorted(classes))}", "", f'folder = "{folder}"']
    if "BitsAndBytesConfig" in classes:
        lines += _quantization(candidate, head)
    lines += [
        f"model = {model_class}.from_pretrained({', '.join(arguments)}).eval()",
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        "",
    ]
    if head == "causal-lm":
        return "\n".join(lines + _continue(task, candidate, prompt or prompt_of(task)))
    if head == "sequence-classification":
        return "\n".join(lines + _classify(task, candidate, threshold))
    return "\n".join(lines + _translate(task, candidate))


def decision_rule(task: Task, threshold: float | None) -> str | None:
    """Return how an answer is made of probabilities, as a sentence; None where the most probable answer is said."""
    if threshold is None:
        return None
    at_least = f"is at least {threshold:.3g}, which was chosen on the validation split"
    if task.form == "multi-label":
        return f"The model says every label whose probability (logistic function) {at_least}."
    return f"The model says the second label when its probability (softmax) {at_least}."


def _registering(candidate: Candidate) -> list[str]:
    """Return the line that makes a method known to PEFT which PEFT does not ship."""
    if not needs_own_tuners(candidate.method):
        return []
    return ["import advisor.modeling.tuners  # pip install peft-advisor: PEFT does not have this method"]


def _quantization(candidate: Candidate, head: Head) -> list[str]:
    """Return the lines that store the base weights as they were stored in training."""
    settings = [f"load_in_{candidate.quantization}=True"]
    if candidate.quantization == "4bit":
        settings += [
            'bnb_4bit_quant_type="nf4"',
            "bnb_4bit_use_double_quant=True",
            f'bnb_4bit_compute_dtype="{_DTYPES[candidate.precision]}"',
        ]
    if head == "sequence-classification":
        settings.append('llm_int8_skip_modules=["classifier", "score", "classification_head", "head"]')
    return ["quantization = BitsAndBytesConfig(", *(f"    {setting}," for setting in settings), ")"]


def _search(candidate: Candidate, folder: str) -> str:
    """Return the code that compares a query with pieces of code, as `training.retrieval` does."""
    encoder = "AutoModelForTextEncoding" if candidate.architecture == "encoder-decoder" else "AutoModel"
    settings = [f'dtype="{_DTYPES[candidate.precision]}"']
    full = candidate.method == "full"
    classes = ["AutoTokenizer", encoder]
    lines = _registering(candidate) + ["import torch"] + ([] if full else ["from peft import PeftConfig, PeftModel"])
    if candidate.quantization is not None and not full:
        classes.append("BitsAndBytesConfig")
        settings.append("quantization_config=quantization")
    lines += [f"from transformers import {', '.join(sorted(classes))}", "", f'folder = "{folder}"']
    if full:
        lines.append(f"model = {encoder}.from_pretrained(folder, {', '.join(settings)}).eval()")
    else:
        lines += _quantization(candidate, "seq2seq-lm") if candidate.quantization is not None else []
        lines += [
            "name = PeftConfig.from_pretrained(folder).base_model_name_or_path",
            f"model = PeftModel.from_pretrained({encoder}.from_pretrained(name, {', '.join(settings)}), folder).eval()",
        ]
    return "\n".join(
        [
            *lines,
            "tokenizer = AutoTokenizer.from_pretrained(folder)",
            "",
            "def vector(text):",
            f"    inputs = tokenizer(text, {_cut(candidate)}).to(model.device)",
            "    with torch.no_grad():",
            '        hidden = model(**inputs).last_hidden_state[0, -inputs["input_ids"].shape[1] :]',
            "    return torch.nn.functional.normalize(hidden.float().mean(dim=0), dim=0)",
            "",
            'query = "..."',
            'codes = ["...", "..."]',
            "print([float(vector(query) @ vector(code)) for code in codes])",
        ]
    )


def _classify(task: Task, candidate: Candidate, threshold: float | None) -> list[str]:
    names = ["code1", "code2"] if task.form == "pair" else ["code"]
    # Tokenizers of decoders put nothing between the two texts of a pair.
    between = ", '\\n\\n' + " if candidate.architecture == "decoder-only" else ", "
    logits = "model(**inputs.to(model.device)).logits"
    answer = [f"print(labels[{logits}.argmax().item()])"]
    if task.form == "multi-label":  # without a threshold each label that is more likely there than not
        least = 0.5 if threshold is None else threshold
        answer = [
            f"shares = {logits}[0].double().sigmoid().tolist()",
            f"print([labels[number] for number, share in enumerate(shares) if share >= {least!r}])",
        ]
    elif threshold is not None:
        answer = [
            f"share = {logits}[0].double().softmax(dim=-1)[1].item()",
            f"print(labels[int(share >= {threshold!r})])",
        ]
    return [
        *(f'{name} = "..."' for name in names),
        f"inputs = tokenizer({between.join(names)}, {_cut(candidate)})",
        "labels = AutoConfig.from_pretrained(folder).id2label",
        *answer,
    ]


def _translate(task: Task, candidate: Candidate) -> list[str]:
    """Return the lines for an encoder-decoder: source in, target out."""
    return [
        'source = "..."',
        f"inputs = tokenizer(source, {_cut(candidate)})",
        f"output = model.generate(**inputs.to(model.device), {_greedy(task)})",
        "print(tokenizer.decode(output[0], skip_special_tokens=True).strip())",
    ]


def _continue(task: Task, candidate: Candidate, prompt: Prompt) -> list[str]:
    """Return the lines for a decoder: the source in its frame, each part tokenized by itself as in training."""
    lines = [
        "def ids(text):",
        '    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]',
        "",
    ]
    if prompt.name == "plain":
        mark = "ids"
    else:
        mark = "marks"
        lines += ["def marks(text):", '    return tokenizer(text, add_special_tokens=False)["input_ids"]', ""]
    parts = ['tokenizer("")["input_ids"]'] if prompt.starts_text else []
    parts += [f"{mark}({prompt.before!r})"] if prompt.before else []
    lines.append('source = "..."')
    if prompt.between is None:
        parts.append(f"ids(source)[-{candidate.max_seq_length}:]")
    else:
        most = candidate.max_seq_length
        lines += [
            'suffix = "..."',
            f"kept = ids(source)[-({most} - min(len(ids(suffix)), {most // SUFFIX_SHARE})):]",
        ]
        parts += ["kept", f"{mark}({prompt.between!r})", f"ids(suffix)[:{most} - len(kept)]"]
    parts.append(f"{mark}({prompt.after!r})")
    return [
        *lines,
        f"prompt = {' + '.join(parts)}",
        f"output = model.generate(torch.tensor([prompt], device=model.device), {_greedy(task)})",
        "print(tokenizer.decode(output[0, len(prompt):], skip_special_tokens=True).strip())",
    ]


def _cut(candidate: Candidate) -> str:
    return f'truncation=True, max_length={candidate.max_seq_length}, split_special_tokens=True, return_tensors="pt"'


def _greedy(task: Task) -> str:
    return f"do_sample=False, num_beams=1, max_new_tokens={task.max_target_length}"
