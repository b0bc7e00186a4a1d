"""What can be exported to, and what each target can say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from advisor.errors import InputError, UnknownNameError
from advisor.exports import axolotl, llama_factory, ludwig, ms_swift, scripts, torchtune
from advisor.exports.plan import ExportHead, ExportPlan
from advisor.exports.script_model import SCRIPTED

_ALL_METHODS = SCRIPTED | {"full"}
_LORA = frozenset({"lora", "rslora", "dora", "lora-plus"})
_ALL_HEADS: frozenset[ExportHead] = frozenset({"sequence-classification", "causal-lm", "seq2seq-lm", "embedding"})
_DECODERS: frozenset[ExportHead] = frozenset({"causal-lm"})


def _nothing(plan: ExportPlan) -> Mapping[str, str]:
    return {}


def _never(plan: ExportPlan) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One program that a candidate can be handed to.

    Attributes:
        name: As on the command line.
        title: For people.
        file_name: What the file should be called.
        methods: Slugs of the methods that it has.
        heads: Task heads that it has.
        render: Returns the text of the file.
        refuses: Says what else of a plan it does not have, None when it has all.
        beside: Returns the texts of further files that must stand beside it, by name.
    """

    name: str
    title: str
    file_name: str
    methods: frozenset[str]
    heads: frozenset[ExportHead]
    render: Callable[[ExportPlan], str]
    refuses: Callable[[ExportPlan], str | None] = _never
    beside: Callable[[ExportPlan], Mapping[str, str]] = _nothing

    def lacks(self, plan: ExportPlan) -> str | None:
        """Return what the target does not have of a plan, None when it has all."""
        if plan.head not in self.heads:
            return f"{plan.task.slug} with a head for {plan.head}"
        if plan.candidate.method not in self.methods:
            return f"method {plan.candidate.method}"
        return self.refuses(plan)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="peft", title="PEFT", file_name=scripts.PEFT_FILE, methods=_ALL_METHODS, heads=_ALL_HEADS,
            render=scripts.render_peft,
        ),
        Target(
            name="transformers", title="transformers", file_name=scripts.TRANSFORMERS_FILE, methods=_ALL_METHODS,
            heads=_ALL_HEADS - {"embedding"}, render=scripts.render_transformers,
        ),
        Target(
            name="trl", title="TRL", file_name=scripts.TRL_FILE, methods=_ALL_METHODS, heads=_DECODERS,
            render=scripts.render_trl,
        ),
        Target(
            name="llama-factory", title="LLaMA-Factory", file_name=llama_factory.FILE_NAME,
            methods=_LORA | {"full"}, heads=_DECODERS, render=llama_factory.render, beside=llama_factory.data_files,
        ),
        Target(
            name="axolotl", title="axolotl", file_name=axolotl.FILE_NAME, methods=_LORA | {"full"}, heads=_DECODERS,
            render=axolotl.render,
        ),
        Target(
            name="unsloth", title="Unsloth", file_name=scripts.UNSLOTH_FILE, methods=_LORA | {"full"},
            heads=_DECODERS, render=scripts.render_unsloth,
        ),
        Target(
            name="ms-swift", title="ms-swift", file_name=ms_swift.FILE_NAME, methods=_LORA | {"full"},
            heads=_DECODERS | {"sequence-classification"}, render=ms_swift.render, refuses=ms_swift.refuses,
        ),
        Target(
            name="torchtune", title="torchtune", file_name=torchtune.FILE_NAME,
            methods=frozenset({"lora", "dora", "full"}), heads=_DECODERS, render=torchtune.render,
            refuses=torchtune.refuses,
        ),
        Target(
            name="ludwig", title="Ludwig", file_name=ludwig.FILE_NAME,
            methods=frozenset({"lora", "rslora", "dora", "ia3", "full"}), heads=_DECODERS, render=ludwig.render,
            refuses=ludwig.refuses,
        ),
    )
}  # fmt: skip


# No program that trains a candidate, but whole weights of a trained one: see `exports.merged`.
MERGED = "merged"


def find_target(name: str) -> Target:
    """Return the target of that name.

    Raises:
        UnknownNameError: No such target; the message has the nearest names.
    """
    if name not in TARGETS:
        raise UnknownNameError("target", name, (*TARGETS, MERGED))
    return TARGETS[name]


def export(plan: ExportPlan, target: Target) -> dict[str, str]:
    """Return the files that make a target train the candidate: text by name, the one to run first.

    Raises:
        InputError: The target lacks something that the candidate needs; the message names targets that have it.
    """
    lacking = target.lacks(plan)
    if lacking is not None:
        able = [other.name for other in TARGETS.values() if other.lacks(plan) is None]
        raise InputError(f"{target.title} does not have {lacking}; targets that can: {', '.join(able) or 'none'}")
    return {target.file_name: target.render(plan), **target.beside(plan)}
