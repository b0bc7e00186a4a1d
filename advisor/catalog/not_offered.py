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
    "adapter-fusion": "it joins adapters that were trained on other tasks before",
    "adapter-stack": "it puts an adapter on one that was trained on another task before",
    "advfusion": "it joins adapters that were trained on other tasks before",
    "pass-tuning": "its prefixes come from a graph network over syntax trees",
    "reft": "PEFT has none",
    "intrinsic-said": "PEFT has none",
}
