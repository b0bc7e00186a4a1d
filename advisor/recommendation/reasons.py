"""Why each choice was made, in sentences that cite evidence, and say so where there is none."""

from collections.abc import Iterator, Mapping, Sequence

from advisor.candidates import LARGE_MODEL_EVIDENCE, LARGE_MODEL_LEARNING_RATE, LARGE_MODEL_PARAMS, Proposal
from advisor.catalog.base_models import TRAIT_NOTES, BaseModel
from advisor.catalog.methods import LORA_FAMILY, METHODS, restrictions
from advisor.catalog.tasks import TASKS, Task
from advisor.evidence.base_model_strength import BaseModelStrength, ability_of
from advisor.evidence.digest import Digest, Setting, Standing, Tally
from advisor.evidence.forecast import Forecast
from advisor.evidence.local import is_local
from advisor.feasibility.fit import BATCH_EVIDENCE, Device, Fit
from advisor.recommendation.quality import told
from advisor.recommendation.ranking import Scored
from advisor.recommendation.records import Confidence, Reason
from advisor.spec import GIB, Architecture

# Width of the 80 % interval of the share of full fine-tuning that is kept, and papers with the method on the task.
_NARROW, _MIDDLING = 0.2, 0.4
_SEVERAL_PAPERS = 2
# Graded papers (`Standing.support`): two comparisons read in full are 2, two abstracts 1.
_WELL_READ = 1.75
_MOST_CITED, _MOST_CONTRARY = 4, 4

_ABILITY_NAMES = {
    "classify": "code classification", "search": "code search", "describe": "describing code",
    "generate": "writing code", "repair": "repairing code", "complete": "completing code",
    "translate": "translating code", "test": "writing tests",
}  # fmt: skip
_WHOLE = ("r", "num_virtual_tokens", "num_epochs")
# The makers of Qwen2 say so of their models (QwenLM/Qwen3 on GitHub, threads 670 and 868). Encoder-decoders train in
# float32 there (`feasibility.fit.precision_for`); the encoders of the catalogue are mostly older than bfloat16.
_OVERFLOW = (
    "float16 ends at 65504, so a base model that was trained in bfloat16 may overflow on this GPU; no evidence "
    "collected here says which do. A trial whose loss is not finite is given up"
)
_WITHOUT_DROPOUT = "PEFT adapts the experts of this model as whole parameters, which it refuses with dropout"
# Rows about where adapters go: all linear layers rather than attention alone.
_TARGET_EVIDENCE = ("biderman2024lora-005", "tinker2026cookbook-006", "peft2026docs-013")


def confidence_of(found: Forecast, standing: Standing) -> Confidence:
    """Grade a forecast by its interval and by the independent papers with the method on the very task.

    "high": at most `_NARROW` wide, two papers or more, mostly read in full; "medium": at most `_MIDDLING` wide, one
    or more; "low": anything else with a paper that used the method on the task, compared or not; "no evidence"
    without one, however narrow what is borrowed looks.
    """
    width = found.high - found.low
    if not found.task_papers:
        return "low" if standing.support else "no evidence"
    if width <= _NARROW and found.task_papers >= _SEVERAL_PAPERS and standing.support >= _WELL_READ:
        return "high"
    return "medium" if width <= _MIDDLING else "low"


def reasons_for(
    one: Scored,
    task: Task,
    device: Device,
    digests: Mapping[Architecture, Digest],
    strengths: Mapping[str, BaseModelStrength],
    peers: tuple[BaseModel, ...],
) -> tuple[Reason, ...]:
    """Return the reasons for one candidate, the weightiest first."""
    proposal, fit = one.proposal, one.fit
    digest = digests[proposal.model.architecture]
    return (
        _base_model(proposal.model, task, digest, strengths, peers),
        _method(one, task, digest.standings[proposal.method.slug]),
        _forecast(one.forecast, task),
        *_hyperparameters(one),
        *_training(proposal, fit, device),
        *_caution(proposal, fit, digest.standings[proposal.method.slug]),
    )


def _base_model(
    model: BaseModel,
    task: Task,
    digest: Digest,
    strengths: Mapping[str, BaseModelStrength],
    peers: tuple[BaseModel, ...],
) -> Reason:
    if model.local:
        return Reason(choice="base_model", text=f"{model.name} was asked for; no figures of a local folder are known")
    known = strengths.get(model.hf_id)
    ability = _ABILITY_NAMES[ability_of(task.slug)]
    studied = _studied(digest.architecture_papers, model.architecture)
    if known is None or not known.figures:
        placed = "it is placed by its size, release and family; " if known else ""
        text = f"no comparable published figures of {model.name} for {ability}; {placed}{studied}"
        return Reason(choice="base_model", text=text)
    ranked = [strengths[peer.hf_id] for peer in peers if peer.hf_id in strengths and strengths[peer.hf_id].figures]
    place = 1 + sum(other.cautious > known.cautious for other in ranked)
    among = f"place {place} of {len(ranked)} suitable base models" if len(ranked) > 1 else "one of the base models"
    text = f"{among} {_figures(known, ability, ranked)}; {studied}"
    return Reason(choice="base_model", text=text, evidence=known.evidence)


def _figures(known: BaseModelStrength, ability: str, ranked: Sequence[BaseModelStrength]) -> str:
    """Say whether the figures behind a place measure the ability itself: of this model, and of how many others."""
    sources = _listed(known.sources)
    if not known.own:
        return f"with comparable published figures; those of this one are for other abilities (from {sources})"
    on_it = sum(one.own for one in ranked)
    if on_it == len(ranked):
        return f"with comparable published figures for {ability} (those of this one from {sources})"
    return f"with comparable published figures, {on_it} of them for {ability} itself (this one: {sources})"


def _studied(papers: float, architecture: Architecture) -> str:
    if papers >= 4:
        return f"{architecture} models are well studied on this kind of task"
    if papers >= 1.5:
        return f"{architecture} models are studied by a few papers on this kind of task"
    return f"{architecture} models are hardly studied on this kind of task"


def _method(one: Scored, task: Task, standing: Standing) -> Reason:
    proposal, title = one.proposal, one.proposal.method.title
    if standing.support == 0 and not standing.tallies and one.forecast.task_papers:
        text = f"{title} was tried on {_lower(task.title)}, but with no {proposal.model.architecture} model"
        return Reason(choice="method", text=text, evidence=one.forecast.evidence[:1])
    if standing.support == 0 and not standing.tallies:
        text = (
            f"no evidence for {in_a_sentence(title)} on {_lower(task.title)} with {proposal.model.architecture} "
            "models; it is ranked by results on other tasks"
        )
        return Reason(choice="method", text=text)
    told = [_told(tally) for tally in standing.tallies if tally.rival in METHODS or tally.rival == "zero-shot"][:3]
    # A comparison that was lost is cited as what speaks against the method, not for it.
    evidence = [
        id_
        for tally in standing.tallies
        if tally.rival in METHODS
        for id_ in tally.evidence
        if id_ not in tally.contrary
    ]
    if not told:
        text = (
            f"{title} was used on {_lower(task.title)} with {proposal.model.architecture} models, "
            "but not compared with another method offered here"
        )
        return Reason(choice="method", text=text, evidence=standing.evidence)
    text = f"{title} on {_lower(task.title)}: " + "; ".join(told)
    lost = tuple(dict.fromkeys(id_ for tally in standing.tallies for id_ in tally.contrary))
    used = (id_ for id_ in standing.evidence if id_ not in lost)
    cited = (tuple(dict.fromkeys((*evidence, *used))) or lost)[:_MOST_CITED]
    contrary = tuple(id_ for id_ in lost if id_ not in cited)[:_MOST_CONTRARY]
    return Reason(choice="method", text=text, evidence=cited, contrary=contrary)


def _forecast(found: Forecast, task: Task) -> Reason:
    if found.low == found.high:
        return Reason(choice="forecast", text="full fine-tuning is what the other methods are measured against")
    own = sum(is_local(id_) for id_ in found.evidence)
    verb = "is" if found.task_papers == 1 else "are"
    papers = f"{found.task_papers} of {_papers(found.papers)} {verb} about {_lower(task.title)} itself"
    if not found.papers:
        papers = "no comparison with this method was found on any task, so that is what methods of its family come to"
    if own:
        papers = (
            f"drawn to your own results; {found.task_papers} of {found.papers} papers and studies {verb} about the task"
        )
    if found.borrowed_from:
        near = _lower(TASKS[found.borrowed_from].title) if found.borrowed_from in TASKS else "language tasks"
        papers = f"no comparison on this task: borrowed from {_papers(found.papers)}"
        papers += f", on {near} above all" if found.papers > 1 else f", on {near}"
    above = (
        " (above 100: full fine-tuning often scored lower in such papers, which need not hold when it is tuned well)"
    )
    above = above if found.mean > 1.03 else ""
    return Reason(choice="forecast", text=f"{told(found)}{above}; {papers}", evidence=found.evidence)


def _told(tally: Tally) -> str:
    """Such as "against full fine-tuning in 13 set-ups of 2 papers: better in 3, similar in 9, worse in 1"."""
    counts = [("better", tally.better), ("similar", tally.similar), ("worse", tally.worse)]
    rival = in_a_sentence(METHODS[tally.rival].title) if tally.rival in METHODS else "the untuned model"
    said = ", ".join(f"{word} in {count}" for word, count in counts if count)
    setups = "1 set-up" if tally.setups == 1 else f"{tally.setups} set-ups"
    return f"against {rival} in {setups} of {_papers(tally.papers)} ({said})"


def _papers(number: int) -> str:
    return f"{number} paper{'' if number == 1 else 's'}"


def _hyperparameters(one: Scored) -> Iterator[Reason]:
    proposal = one.proposal
    values = proposal.hyperparameters
    demanded = restrictions(proposal.method.slug, proposal.model.model_type) or {}
    for name, setting in proposal.settings.items():
        if name in demanded:
            continue
        evidence, figures = setting.cited_at(proposal.model.params)
        if name == "learning_rate" and _is_capped(proposal):
            yield Reason(
                choice=name, text=f"{values[name]:g}: above 13B parameters QLoRA's authors halve the rate",
                evidence=(LARGE_MODEL_EVIDENCE,), figures=(LARGE_MODEL_LEARNING_RATE,),
            )  # fmt: skip
        elif name == "num_epochs" and one.epochs_left_out:
            advised = _setting(name, int(values[name]) + one.epochs_left_out, setting)
            text = f"{values[name]}: as many as the time allows of {advised}"
            yield Reason(choice=name, text=text, evidence=evidence, figures=figures)
        else:
            text = _setting(name, values[name], setting, rank=float(values.get("r", 1)))
            yield Reason(choice=name, text=text, evidence=evidence, figures=figures)
    for dimension in proposal.method.dimensions:
        if dimension.name == "target_modules":
            yield _placement(proposal)
        elif dimension.name in demanded:
            yield Reason(choice=dimension.name, text=f"{values[dimension.name]:g}: {_WITHOUT_DROPOUT}")
        elif dimension.name not in proposal.settings:
            text = f"{values[dimension.name]}: the method's default, nothing nearer published"
            yield Reason(choice=dimension.name, text=text, evidence=dimension.evidence)


def _placement(proposal: Proposal) -> Reason:
    vote, value = proposal.placement, proposal.hyperparameters["target_modules"]
    if vote is None:
        text = "adapters on all linear layers do better than on attention alone"
        return Reason(choice="target_modules", text=text, evidence=_TARGET_EVIDENCE)
    text = f"{value}: {100 * vote.shares[vote.value]:.0f} % of the weight of {_papers(vote.papers)}"
    return Reason(choice="target_modules", text=text, evidence=vote.evidence, contrary=vote.others)


def _is_capped(proposal: Proposal) -> bool:
    large = proposal.model.params > LARGE_MODEL_PARAMS
    return large and proposal.hyperparameters["learning_rate"] == LARGE_MODEL_LEARNING_RATE


def _setting(name: str, value: object, setting: Setting, rank: float = 1.0) -> str:
    """Say how a value was found; alpha, which papers choose by the rank, as so many times the rank."""
    by_rank = name == "lora_alpha"
    unit, share = (" times r", rank) if by_rank else ("", 1.0)
    where = f"{setting.on_task} of them on this task" if setting.on_task else "none of them on this task"
    low, high = (round(end) if name in _WHOLE else end / share for end in (setting.low, setting.high))
    spread = "" if low == high else f", mostly {low:.2g} to {high:.2g}{unit}"
    unseen = "" if setting.evidence else "; the number stands in no excerpt collected here"
    shown = f"{value:g}, {float(str(value)) / rank:g} times r" if by_rank else f"{value:g}"
    return f"{shown}: centre of {_papers(setting.papers)}{spread} ({where}){unseen}"


def _training(proposal: Proposal, fit: Fit, device: Device) -> Iterator[Reason]:
    if device.usable_bytes is None:
        yield Reason(choice="memory", text=device.told)
    if fit.precision == "fp32":
        overflow = "the GPU has no bfloat16, and T5 models overflow in float16"
        yield Reason(choice="precision", text=f"float32: {overflow if device.low_precision else 'no GPU named'}")
    else:
        yield Reason(choice="precision", text=f"{fit.precision}: {device.told}")
    if fit.quantization:
        bits = fit.quantization.replace("bit", " bits")
        text = f"the base is stored in {bits}{_saved(proposal, fit, device)}"
        yield Reason(choice="quantization", text=text, evidence=("dettmers2023qlora-001", "dettmers2023qlora-004"))
    if fit.gradient_checkpointing:
        text = "on: layers are computed anew in the backward pass, which takes longer and saves memory"
        yield Reason(choice="gradient_checkpointing", text=text)
    text = f"{fit.batch_size}: usual for {proposal.model.architecture} models"
    if fit.micro_batch_size < fit.batch_size:
        text += f", in portions of {fit.micro_batch_size}, which is what fits"
    larger = BATCH_EVIDENCE if proposal.method.slug in LORA_FAMILY else ()
    text += "; LoRA bears larger ones badly" if larger else ""
    yield Reason(choice="batch_size", text=text, evidence=larger)
    limited = proposal.model.context_length == proposal.max_seq_length
    why = "all that the model takes" if limited else "usual for the task"
    yield Reason(choice="max_seq_length", text=f"{proposal.max_seq_length} source tokens: {why}")


def _saved(proposal: Proposal, fit: Fit, device: Device) -> str:
    weights_bytes = 2 * proposal.model.params
    if device.usable_bytes is not None and weights_bytes > device.usable_bytes:
        return f": in 16 bits its weights alone take about {weights_bytes / GIB:.0f} GiB"
    return ", which leaves room for more examples at once" if fit.micro_batch_size > 1 else ", which saves memory"


def _caution(proposal: Proposal, fit: Fit, standing: Standing) -> Iterator[Reason]:
    full = next((tally for tally in standing.tallies if tally.rival == "full"), None)
    if full is not None and full.worse > full.better:
        text = "more published comparisons on this task favour full fine-tuning; --method full shows what that needs"
        yield Reason(choice="caution", text=text, evidence=full.contrary or full.evidence)
    if fit.precision == "fp16" and proposal.model.architecture == "decoder-only":
        yield Reason(choice="caution", text=_OVERFLOW)
    for trait in proposal.model.traits:
        yield Reason(choice="caution", text=TRAIT_NOTES[trait])


def too_large(fit: Fit, device: Device) -> str:
    """Say why a proposal does not fit."""
    need = fit.estimate.peak_memory_bytes / GIB
    stored = f"{fit.quantization.replace('bit', '-bit')} base" if fit.quantization else fit.precision
    stored += ", gradient checkpointing" if fit.gradient_checkpointing else ""
    return f"needs about {need:.1f} GiB with one example at once ({stored}); {device.usable_gib:.1f} GiB usable"


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def in_a_sentence(title: str) -> str:
    """Return a method's name for people as it is written inside a sentence: "prompt tuning", but "LoRA", "P-tuning"."""
    word = title.split()[0]
    return _lower(title) if word.isalpha() and word == word.capitalize() else title


def _lower(title: str) -> str:
    return title[0].lower() + title[1:]
