"""Methods that PEFT or the literature has and that are not offered, each with its reason."""

from collections.abc import Mapping

NOT_OFFERED: Mapping[str, str] = {
    "multitask-prompt-tuning": "PEFT asks for the task of every example; with one task prompt-tuning is left",
    "cpt": "it is built from examples in the prompt, which a training file does not have",
    "cartridge": "its virtual tokens are distilled from a long text by a loss of its own",
    "trainable-tokens": "it trains chosen embeddings, and the tasks here add no tokens of their own",
    "poly": "PEFT asks for the number of the task of every example, and its gain is sharing between tasks",
    "xlora": "it mixes LoRA adapters that were trained before",
    "eva": "LoRA's ranks are found from a pass over the data before training",
    "corda": "LoRA's start is found from a pass over the data before training",
    "shadow": "it trains a second network beside a decoder by a loss of its own",
    "advfusion": "it trains a fusion in two phases, the first of them without the target language's own adapter, and "
    "`tune` trains in one; adapter-fusion is the second phase alone",
    "language-adapter": "it is trained on plain code of one language, and tasks here have inputs with their answers",
    "task-adapter": "alone it is a bottleneck adapter as any other; ask for adapter-pfeiffer",
    # https://github.com/nchen909/Pass-Tuning at 0070fff: one piece of code for all examples, given as a file; the
    # retrieval that would find it is empty there, and T5 and PLBART classify without the prefix.
    "pass-tuning": "its prefix comes from the syntax tree of one chosen piece of code; how that is chosen is neither "
    "in its abstract nor in its published program",
    "reft": "PEFT has none",
    "intrinsic-said": "PEFT has none",
}
