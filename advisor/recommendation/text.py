"""A recommendation as plain text: the first candidate in full, the others in a table, the rejected in a few lines."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap

from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import Task, find_task
from advisor.catalog.trained_adapters import PART_OPTIONS, options_example
from advisor.durations import rough_duration
from advisor.evidence.local import is_local
from advisor.evidence.papers import Paper, read_papers
from advisor.evidence.rows import CAVEAT_NOTES, EvidenceRow, find_rows
from advisor.feasibility.fit import device_of
from advisor.recommendation.reasons import in_a_sentence
from advisor.recommendation.records import CardChange, RankedCandidate, Reason, Recommendation, RejectedCandidate, Role
from advisor.spec import GIB

# What choices are called for people; also in the report of a study.
CHOICE_TITLES = {
    "base_model": "base model", "learning_rate": "learning rate", "r": "rank", "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "num_virtual_tokens": "virtual tokens", "num_epochs": "epochs", "target_modules": "target modules",
    "batch_size": "batch size", "max_seq_length": "length", "loraplus_lr_ratio": "rate of B to A",
    "gradient_checkpointing": "checkpointing", "forecast": "expected", "reduction_factor": "reduction",
    "num_prefix_tokens": "prefix tokens", "trained_layers": "trained layers", "init_r": "rank at start",
    "target_r": "rank at end",
}  # fmt: skip
# Settings shown on the first lines, in this order, with what they are called there.
_SHOWN = {
    "learning_rate": "learning rate {:g}", "loraplus_lr_ratio": "{:g} times that for B", "r": "r {}",
    "init_r": "r {} at the start", "target_r": "{} at the end", "reduction_factor": "reduction factor {:g}",
    "num_prefix_tokens": "{} prefix tokens", "trained_layers": "top {} layers trained", "lora_alpha": "lora_alpha {}",
    "lora_dropout": "dropout {:g}", "num_virtual_tokens": "{} virtual tokens",
    "target_modules": "target modules {}", "num_epochs": "{} epochs",
}  # fmt: skip
_FIELDS = {
    "pair": "code1, code2, label", "single": "code, label", "multi-label": "code, labels",
    "generation": "source, target", "retrieval": "query, code, label",
}  # fmt: skip
_ROLES: dict[Role, str] = {
    "cheapest": "least memory for nearly the same quality", "safest": "surest to be good",
    "pareto": "nothing looked at beats them in quality and memory",
}  # fmt: skip
_KNOWN_FROM = {"first-order formula": "first-order estimate", "stored dry runs": "from dry runs"}
_LABEL_WIDTH = 16
_NUMBERS = ("GiB", "n", "share")
# Cited by id and source; the ids of the rest begin with author and year anyway.
_MAIN = ("base_model", "method", "forecast", "caution")
_MOST_TOO_LARGE, _MOST_NAMES = 3, 3
# A number and its unit stay on one line.
_UNIT = re.compile(r"(?<=\d) (?=%|GiB|GB|epochs?\b|tokens\b|million\b|billion\b|papers?\b|times\b|min\b)")
_NO_BREAK = "\N{NO-BREAK SPACE}"


def render(recommendation: Recommendation, width: int = 88, saved_as: str | None = None) -> str:
    """Return the text that `recommend` prints.

    Args:
        recommendation: With at least one candidate.
        width: Columns to wrap at.
        saved_as: Name of the file it was written to, for the next command.
    """
    task = find_task(recommendation.task)
    papers = read_papers()
    lines = [*_wrapped(f"{task.title}: {device_of(recommendation.budget).told}", width, ""), ""]
    lines += _first(recommendation.candidates[0], papers, width)
    lines += ["", *_next(task, recommendation.candidates[0], saved_as, width)]
    first = recommendation.candidates[0]
    if first.rivals:
        lines += ["", "Instead of it", *(line for one in first.rivals for line in _wrapped(one.text, width, "  "))]
    if recommendation.cards:
        lines += ["", "With another card", *_cards(recommendation.cards, width)]
    for note in recommendation.notes:
        lines += ["", *_wrapped(note, width, "")]
    if recommendation.candidates[1:]:
        lines += ["", *_table(recommendation.candidates[1:], width)]
        lines += _roles(recommendation.candidates, width)
    if recommendation.rejected:
        lines += ["", "Looked at and left out", *_rejected(recommendation.rejected, width)]
    return "\n".join(lines) + "\n"


def _first(line: RankedCandidate, papers: Mapping[str, Paper], width: int) -> Iterator[str]:
    yield f"1. {METHODS[line.method].title} on {line.base_model}    confidence: {line.confidence}"
    yield from _wrapped(", ".join(_settings(line)), width, "   ")
    yield from _wrapped(", ".join((*_batch(line), *_memory(line))), width, "   ")
    yield ""
    yield "   Why"
    told = [reason for reason in line.reasons if not _is_said_above(reason, line)]
    published = (id_ for reason in told for id_ in reason.evidence if not is_local(id_))
    rows = {row.id: row for row in find_rows(published)}
    for reason in told:
        yield from _reason(reason, rows, papers, width)


def _is_said_above(reason: Reason, line: RankedCandidate) -> bool:
    """The first line names the memory and the type; the usual length needs no words."""
    return (reason.choice == "precision" and line.precision == "bf16") or (
        reason.choice == "max_seq_length" and reason.text.endswith("usual for the task")
    )


def _settings(line: RankedCandidate) -> Iterator[str]:
    for name, form in _SHOWN.items():
        if name in line.hyperparameters:
            value = line.hyperparameters[name]
            yield "1 epoch" if name == "num_epochs" and value == 1 else form.format(value)


def _batch(line: RankedCandidate) -> Iterator[str]:
    portions = f" in portions of {line.micro_batch_size}" if line.micro_batch_size else ""
    yield f"batch size {line.batch_size}{portions}"
    yield f"{line.max_seq_length} tokens"
    if line.gradient_checkpointing:
        yield "gradient checkpointing"
    yield line.precision + (f" on a {line.quantization.replace('bit', '-bit')} base" if line.quantization else "")


def _memory(line: RankedCandidate) -> Iterator[str]:
    if line.estimate is not None:
        yield f"about {_gib(line)} GiB ({_KNOWN_FROM.get(line.estimate.basis, line.estimate.basis)}, not measured)"
        if line.estimate.step_time_s is not None:
            yield f"{line.estimate.step_time_s:.2g} s a step" + _duration(line)
        yield f"{_count(line.estimate.trainable_params)} parameters trained"


def _duration(line: RankedCandidate) -> str:
    return f", about {rough_duration(line.training_time_s)} in all" if line.training_time_s is not None else ""


def _reason(reason: Reason, rows: Mapping[str, EvidenceRow], papers: Mapping[str, Paper], width: int) -> list[str]:
    figures = _figures(reason, rows)
    cited = ", ".join(
        _cited(id_, rows, papers) if reason.choice in _MAIN else f"{id_}: {figures[id_]}" if id_ in figures else id_
        for id_ in reason.evidence
    )
    text = f"{reason.text} [{cited}]" if cited else reason.text
    if reason.contrary:
        text += f"; against it: {', '.join(reason.contrary)}"
    label = CHOICE_TITLES.get(reason.choice, reason.choice)
    first = f"   {label:<{_LABEL_WIDTH}}"
    return _lines(text, width, first, " " * len(first)) or [first]


def _figures(reason: Reason, rows: Mapping[str, EvidenceRow]) -> dict[str, str]:
    """Return the number that each cited row gives, with what it takes to read it: the rank, the factor, the model."""
    told = zip(reason.evidence, reason.figures, strict=False)
    return {id_: _as_told(reason.choice, rows[id_], figure) for id_, figure in told}


def _as_told(choice: str, row: EvidenceRow, figure: float) -> str:
    told = row.hyperparameters
    factor, rank = told.get("lora_multiplier"), told.get("r")
    if choice == "learning_rate" and isinstance(factor, (int, float)):
        return f"{figure:g} times {factor:g}"
    if choice == "learning_rate" and row.model is not None:
        return f"{figure:g} for {row.model}"
    if choice == "lora_alpha" and told.get("alpha") == "2r":
        return "2r"
    if choice == "lora_alpha" and isinstance(rank, (int, float)):
        return f"{figure:g} at r {rank:g}"
    return f"{figure:g}"


def _cited(id_: str, rows: Mapping[str, EvidenceRow], papers: Mapping[str, Paper]) -> str:
    if is_local(id_):
        return f"{id_} (own result)"
    row = rows[id_]
    return f"{id_} ({'; '.join((papers[row.paper].short, *(CAVEAT_NOTES[one] for one in row.caveats)))})"


def _next(task: Task, line: RankedCandidate, saved_as: str | None, width: int) -> Iterator[str]:
    method = line.reasons[1]
    ids = (*method.evidence[:1], *method.contrary[:1], *method.evidence[1:]) or line.reasons[0].evidence
    if ids:  # one for and one against, where there is one
        yield f"Read the evidence:  peft-advisor evidence {' '.join(ids[:2])}"
    if saved_as is None:
        yield "Keep it:            the same command with --output recommendation.json"
    file = saved_as or "recommendation.json"
    yield f"Try it:             peft-advisor tune {file} --train TRAIN --valid VALID --test TEST"
    if line.method in PART_OPTIONS:
        named = options_example(line.method, METHODS[line.method].least_adapters)
        yield from _wrapped(f"with {named}: the trained adapters that it is made of", width, " " * 20)
    yield from _wrapped(f"(one JSON object per line with {_FIELDS[task.form]})", width, " " * 20)


def _table(lines: Iterable[RankedCandidate], width: int) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("", "base model", "method", "GiB", "n", "share", "confidence", "base")]
    for line in lines:
        stored = line.quantization.replace("bit", "-bit") if line.quantization else line.precision
        method = METHODS[line.method].title.split(" (")[0]
        share = f"{100 * line.forecast.mean:.0f} %" if line.forecast else "?"
        at_once = f"{line.micro_batch_size or line.batch_size}"
        rows.append((f"{line.rank}.", line.base_model, method, _gib(line), at_once, share, line.confidence, stored))
    # What a narrow terminal has no room for: first what tells least.
    one_storage = len({row[-1] for row in rows[1:]}) == 1
    for spare in ("base", "n") if one_storage else ("n", "base"):
        if sum(_widths(rows)) + 2 * len(rows[0]) - 2 > width:
            at = rows[0].index(spare)
            rows = [(*row[:at], *row[at + 1 :]) for row in rows]
    numbers = "n: examples at once; " if "n" in rows[0] else ""
    yield from _wrapped(f"Alternatives ({numbers}share of full fine-tuning's score expected)", width, "")
    sizes = _widths(rows)
    for row in rows:
        cells = [
            cell.rjust(size) if name in _NUMBERS else cell.ljust(size)
            for name, cell, size in zip(rows[0], row, sizes, strict=True)
        ]
        yield "  ".join(cells).rstrip()[: max(width, 60)]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]


def _roles(lines: Sequence[RankedCandidate], width: int) -> Iterator[str]:
    timed = any(line.estimate is not None and line.estimate.step_time_s is not None for line in lines)
    first = lines[0]
    for role, said in _ROLES.items():
        ranks = ", ".join(str(line.rank) for line in lines if role in line.roles)
        if not ranks:
            continue
        if role == "pareto" and timed:
            said = said.replace(" and memory", ", memory and time")
        if role == "cheapest" and role in first.roles:
            ranks += " (nothing as good saves a fifth of it)"
        yield from _wrapped(f"{said[0].upper()}{said[1:]}: {ranks}", width, "  ")
    ahead = ", ".join(str(line.rank) for line in lines[1:] if _is_less_known(line, first))
    if ahead:
        said = "Forecast higher than 1, but ranked below it because fewer papers stand behind them"
        yield from _wrapped(f"{said}: {ahead}", width, "  ")


def _is_less_known(line: RankedCandidate, first: RankedCandidate) -> bool:
    if line.base_model != first.base_model or line.forecast is None or first.forecast is None:
        return False
    higher = round(100 * line.forecast.mean) > round(100 * first.forecast.mean)
    return higher and (line.forecast.task_papers, line.forecast.papers) < (
        first.forecast.task_papers, first.forecast.papers
    )  # fmt: skip


def _cards(cards: Iterable[CardChange], width: int) -> Iterator[str]:
    for card in cards:
        yield from _wrapped(f"{card.vram_gib:g} GiB: {card.text}", width, "  ")


def _rejected(rejected: Iterable[RejectedCandidate], width: int) -> Iterator[str]:
    """The best few that are too large, then one line per reason for those that are never proposed."""
    too_large = [one for one in rejected if one.estimate is not None]
    for one in too_large[:_MOST_TOO_LARGE]:
        method = in_a_sentence(METHODS[one.method].title)
        yield from _wrapped(f"{one.base_model} with {method}: {one.reason}", width, "  ")
    more = len(too_large) - _MOST_TOO_LARGE
    if more > 0:
        slow = any("one epoch" in one.reason for one in too_large)
        why = ("does not fit" if more == 1 else "do not fit") + (" in memory or time" if slow else "")
        yield f"  {more} more that {why} (listed by --json)"
    groups: dict[str, list[str]] = defaultdict(list)
    for one in rejected:
        if one.estimate is None:
            groups[one.reason].append(one.base_model)
    for reason, names in groups.items():
        others = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        yield from _wrapped(f"{reason[0].upper()}{reason[1:]}: {', '.join(names[:_MOST_NAMES])}{others}", width, "  ")


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return _lines(text, width, indent, indent + "  ")


def _lines(text: str, width: int, first: str, others: str) -> list[str]:
    lines = wrap(
        _UNIT.sub(_NO_BREAK, text), width=width, initial_indent=first, subsequent_indent=others,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace(_NO_BREAK, " ") for line in lines]


def _gib(line: RankedCandidate) -> str:
    return f"{line.estimate.peak_memory_bytes / GIB:.1f}" if line.estimate else "?"


def _count(number: int) -> str:
    if number >= 1_000_000_000:
        return f"{number / 1e9:.1f} billion"
    if number >= 1_000_000:
        return f"{number / 1e6:.1f} million"
    return f"{number:,}"
