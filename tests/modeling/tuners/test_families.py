"""Methods that PEFT does not ship, on families beyond those of the other suites: ModernBERT, BART and PLBART.

Each is trained for a few steps, its loss falls, the base model stays as it was, and the saved adapter is the same.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PLBartConfig,
    PLBartForConditionalGeneration,
    PreTrainedModel,
)

from advisor.catalog.method import OWN_PEFT_TYPES
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import find_task
from advisor.modeling.adapters import UnsupportedCandidateError
from advisor.modeling.attachment import AttachedModel, attach_adapter, load_adapter
from advisor.modeling.base import BaseModel, load_base_model, request_for
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import Architecture
from tests.models import MAX_POSITIONS, tiny_tokenizer
from tests.training.toy import candidate

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
LABELS = ("no", "perhaps", "yes")
SIZE, LAYERS, HEADS, INNER = 32, 2, 4, 64
# Composed of trained adapters, which other tests have; "layer-freezing" is PEFT's, but goes by our families.
OWN = [
    slug
    for slug, method in METHODS.items()
    if (method.peft_type in OWN_PEFT_TYPES and not slug.startswith(("adapter-stack", "adapter-fusion")))
    or slug in ("layer-freezing", "ff-lora")
]
HEADED: dict[str, tuple[str, ...]] = {
    "modernbert": ("clone-detection",),
    "bart": ("clone-detection", "code-summarization"),
    "plbart": ("code-summarization",),
}
ARCHITECTURES: dict[str, Architecture] = {
    "modernbert": "encoder-only", "bart": "encoder-decoder", "plbart": "encoder-decoder",
}  # fmt: skip
KINDS = [
    # PLBART is BART with one more setting.
    pytest.param(method, family, task, id=f"{method}-{family}-{task}", marks=pytest.mark.heavy if slow else ())
    for family, tasks in HEADED.items()
    for task in tasks
    for method in OWN
    for slow in [family == "plbart" and method not in ("mam", "adapter-pfeiffer")]
    if METHODS[method].works_on(family)
]


def built(family: str, vocabulary: int) -> PreTrainedModel:
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    if family == "modernbert":
        return ModernBertForMaskedLM(
            ModernBertConfig(
                vocab_size=vocabulary, hidden_size=SIZE, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                intermediate_size=INNER, max_position_embeddings=MAX_POSITIONS, cls_token_id=0, sep_token_id=2, **ids,
            )
        )  # fmt: skip
    config_of, model_of = {
        "bart": (BartConfig, BartForConditionalGeneration),
        "plbart": (PLBartConfig, PLBartForConditionalGeneration),
    }[family]
    config: Any = config_of(
        vocab_size=vocabulary, d_model=SIZE, encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_ffn_dim=INNER,
        decoder_ffn_dim=INNER, encoder_attention_heads=HEADS, decoder_attention_heads=HEADS,
        max_position_embeddings=MAX_POSITIONS, decoder_start_token_id=2, forced_eos_token_id=2, **ids,
    )  # fmt: skip
    return model_of(config)


@pytest.fixture(scope="module")
def base_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], BaseModel]:
    root = tmp_path_factory.mktemp("families")
    loaded: dict[tuple[str, str], BaseModel] = {}

    def base(family: str, task: str) -> BaseModel:
        folder = root / family
        if not folder.exists():
            tokenizer = tiny_tokenizer(ARCHITECTURES[family])
            with torch.random.fork_rng(devices=[]), quiet_libraries():
                torch.manual_seed(0)
                built(family, len(tokenizer)).save_pretrained(folder)
                tokenizer.save_pretrained(folder)
        if (family, task) not in loaded:
            chosen = candidate(folder, ARCHITECTURES[family])
            loaded[family, task] = load_base_model(request_for(chosen, find_task(task), LABELS, CPU), CPU)
        return loaded[family, task]

    return base


def batch(base: BaseModel) -> dict[str, torch.Tensor]:
    ids = torch.randint(10, 300, (4, 12), generator=torch.Generator().manual_seed(0))
    ids[:, -1] = 2  # the end of a text, which classifiers of encoder-decoders look for
    labels = torch.tensor([0, 1, 2, 1]) if base.request.label_names else ids.clone()
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def outputs(attached: AttachedModel) -> Any:
    attached.model.eval()
    with torch.no_grad():
        return attached.model(**batch(attached.base))


def digest(base: BaseModel) -> str:
    """Hash the names, classes, hooks and weights of a base model."""
    found = hashlib.sha256()
    for name, module in base.model.named_modules():
        hooks = len(module._forward_hooks) + len(module._forward_pre_hooks)
        found.update(f"{name} {type(module)} {hooks} {sorted(vars(module))}".encode())
    for name, tensor in base.model.state_dict().items():
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize(("method", "family", "task"), KINDS)
def test_it_learns_is_saved_and_leaves_the_base_model_alone(
    method: str, family: str, task: str, base_of: Callable[[str, str], BaseModel], tmp_path: Path
) -> None:
    base = base_of(family, task)
    before = digest(base)
    chosen = candidate(Path(base.source), ARCHITECTURES[family], method)
    attached = attach_adapter(base, chosen, seed=5)
    first = float(outputs(attached).loss)
    optimizer = torch.optim.AdamW(attached.trainable_parameters, lr=1e-2)
    attached.model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of dropout
        for _ in range(6):
            attached.model(**batch(base)).loss.backward()
            unused = [name for name, one in attached.model.named_parameters() if one.requires_grad and one.grad is None]
            assert not unused
            optimizer.step()
            optimizer.zero_grad()
    trained = outputs(attached)
    assert float(trained.loss) < first
    attached.save(tmp_path / "saved")
    assert attached.detach()
    assert digest(base) == before

    loaded = load_adapter(base, chosen, tmp_path / "saved")
    assert torch.equal(outputs(loaded).logits, trained.logits)
    assert loaded.detach()
    assert digest(base) == before


@pytest.mark.parametrize("family", list(HEADED))
def test_every_layer_of_both_stacks_carries_what_the_method_puts_there(
    family: str, base_of: Callable[[str, str], BaseModel]
) -> None:
    base = base_of(family, HEADED[family][-1])
    stacks = 1 if family == "modernbert" else 2
    for method, per_layer in (("adapter-houlsby", 2), ("adapter-pfeiffer", 1), ("adapter-parallel", 1)):
        attached = attach_adapter(base, candidate(Path(base.source), ARCHITECTURES[family], method), seed=5)
        ups = [name for name, _ in attached.model.named_parameters() if name.endswith("bottleneck_up.default.weight")]
        assert attached.detach()
        assert len(ups) == stacks * LAYERS * per_layer, method


def test_a_model_without_biases_is_refused_by_name(base_of: Callable[[str, str], BaseModel]) -> None:
    base = base_of("modernbert", "clone-detection")
    with pytest.raises(UnsupportedCandidateError, match="bitfit does not work on modernbert models: they have no bias"):
        attach_adapter(base, candidate(Path(base.source), "encoder-only", "bitfit"), seed=5)


def test_biases_of_bart_are_those_of_every_linear_layer_and_normalisation(
    base_of: Callable[[str, str], BaseModel],
) -> None:
    base = base_of("bart", "code-summarization")
    attached = attach_adapter(base, candidate(Path(base.source), "encoder-decoder", "bitfit"), seed=5)
    n_trained = sum(one.numel() for one in attached.trainable_parameters)
    assert attached.detach()
    attention, feed_forward, norm = 4 * SIZE, INNER + SIZE, SIZE
    encoder_layer = attention + feed_forward + 2 * norm
    decoder_layer = 2 * attention + feed_forward + 3 * norm
    assert n_trained == LAYERS * (encoder_layer + decoder_layer) + 2 * norm  # one norm on the embeddings of each stack
