"""What `get_peft_model` needs to build each method's adapter on a base model that has no values.

PEFT computes some adapters from the base weights, and takes a tensor on meta for one that is loaded later. The
changes here give what a real adapter would have: same names, shapes and types, on the device of the base model or on
the CPU as PEFT puts them. Each is as narrow as its method allows, and comments name the file of PEFT 0.21 below
`peft/tuners` that it follows.

The changes replace functions of PEFT for the length of a block: other threads must not attach adapters meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from peft import PeftConfig, PeftType
from peft.tuners._buffer_dict import BufferDict
from peft.tuners.adamss import layer as adamss_layer
from peft.tuners.boft import layer as boft_layer
from peft.tuners.frod import layer as frod_layer
from peft.tuners.frod import model as frod_model
from peft.tuners.lora import layer as lora_layer
from peft.tuners.lora.variants import MontecloraLinearVariant
from peft.tuners.shadow.model import ShadowModel
from peft.tuners.shira.layer import ShiraLayer
from peft.tuners.tuners_utils import BaseTunerLayer, _maybe_include_all_linear_layers
from peft.utils import CONFIG_NAME, save_and_load
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.pytorch_utils import Conv1D

from advisor.catalog.method import OWN_PEFT_TYPES
from advisor.dryrun.value_reads import answer, stand_in_on_cpu
from advisor.errors import InputError, printable
from advisor.modeling.tuners.registration import peft_type

_META = torch.device("meta")
_aten = torch.ops.aten


@contextmanager
def building_on_meta(config: PeftConfig) -> Iterator[None]:
    """Within the block, `get_peft_model` with this configuration works on a base model of the meta device.

    Args:
        config: May be changed, in settings that decide values only.

    Raises:
        InputError: The configuration names what is not there.
    """
    with ExitStack() as changes:
        for change in (_all_moved, *_CHANGES.get(PeftType(config.peft_type), ())):
            changes.enter_context(change(config))
        changes.enter_context(_Building())
        yield


class _Building(TorchDispatchMode):
    """While an adapter is built: value reads are answered, and random numbers on the CPU are not drawn.

    Their values do not matter. Memory that is never written costs nothing, however large the adapter.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _RANDOM_FILLS:
            return args[0]
        if func in _PERMUTATIONS and not _on_meta(kwargs.get("device")):
            return stand_in_on_cpu((args[0],), torch.int64)
        out = answer(func, args, kwargs)
        return func(*args, **kwargs) if out is NotImplemented else out


def _on_meta(device: Any) -> bool:
    return device is not None and torch.device(device) == _META


_RANDOM_FILLS = frozenset({_aten.uniform_.default, _aten.normal_.default})
_PERMUTATIONS = frozenset({_aten.randperm.default, _aten.randperm.generator})


# What follows is one change for all methods and one per method; each holds while the adapter is built.

_Change = Callable[[Any], AbstractContextManager[Any]]


@contextmanager
def _all_moved(config: Any) -> Iterator[None]:
    """PEFT moves an adapter to the base layer's device, but none of its kind once one is on meta (tuners_utils.py)."""
    move = BaseTunerLayer._move_adapter_to_device_of_base_layer

    def move_all(layer: Any, adapter_name: str, device: torch.device | None = None) -> None:
        move(layer, adapter_name, device)
        _, dtype = layer._get_base_layer_device_and_dtype(layer.get_base_layer())
        cast = {"dtype": dtype} if dtype is not None and dtype.is_floating_point else {}  # not to packed weights' type
        for name in layer.adapter_layer_names:
            kind = getattr(layer, name, None)
            if not isinstance(kind, (nn.ModuleDict, nn.ParameterDict)) or adapter_name not in kind:
                continue
            part = kind[adapter_name]
            tensors = list(part.parameters()) if isinstance(part, nn.Module) else [part]
            if any(tensor.device.type == "cpu" for tensor in tensors):
                kind[adapter_name] = part.to(_META, **cast)

    with patch.object(BaseTunerLayer, "_move_adapter_to_device_of_base_layer", move_all):
        yield


@contextmanager
def _lora_without_values(config: Any) -> Iterator[None]:
    """Leave out initialisations from the base weights (PiSSA, OLoRA, MiCA, CorDA, LoftQ, orthogonal, LoRA-GA).

    They set values of `lora_A` and `lora_B`, whose shapes are given before, and put a residual of the same shape and
    type in place of the base weight (lora/layer.py). EVA sets none here.
    """
    with ExitStack() as changes:
        for kind in (lora_layer.LoraLayer, lora_layer.Embedding):
            for name in _INITIALISATIONS & set(vars(kind)):
                changes.enter_context(patch.object(kind, name, _nothing))
        yield


_INITIALISATIONS = frozenset(
    {"olora_init", "pissa_init", "mica_init", "corda_init", "loftq_init", "orthogonal_init", "lora_ga_init"}
)


def _nothing(*args: object) -> None:
    """Set no values."""


@contextmanager
def _monteclora_sampler(config: Any) -> Iterator[None]:
    """MonteCLoRA makes its sampler, which has parameters, at once; on meta it would wait (lora/variants.py)."""
    begin = MontecloraLinearVariant.init

    def init(module: Any, adapter_name: str, config: Any, **kwargs: Any) -> None:
        begin(module, adapter_name, config, **kwargs)
        module.lora_monteclora_sampler[adapter_name] = MontecloraLinearVariant._create_sampler(
            module, adapter_name, config.monteclora_config
        )

    with patch.object(MontecloraLinearVariant, "init", staticmethod(init)):
        yield


@contextmanager
def _kasa_weight_stays(config: Any) -> Iterator[None]:
    """KaSA would truncate the base weight in the first forward pass: same shape, other values (lora/variants.py)."""
    with patch.object(lora_layer.LoraLayer, "_lora_kasa_truncation_deferred", _NeverFilled(), create=True):
        yield


class _NeverFilled(set[str]):
    """A set that stays empty."""

    def add(self, element: str) -> None:
        """Add nothing."""


@contextmanager
def _experts_without_autocast(config: Any) -> Iterator[None]:
    """LoRA on the weights of experts is folded in with autocast off, which meta does not have (lora/layer.py).

    This one holds in every forward pass of the layers that are built within.
    """
    begin = lora_layer.ParamWrapper.__init__

    def init(layer: Any, *args: Any, **kwargs: Any) -> None:
        begin(layer, *args, **kwargs)
        activate = layer._activate_lora

        @contextmanager
        def activated(adapter_names: list[str]) -> Iterator[None]:
            with patch.object(lora_layer._LoraFactorsProxy, "forward", _folded), activate(adapter_names):
                yield

        layer._activate_lora = activated

    with patch.object(lora_layer.ParamWrapper, "__init__", init):
        yield


def _folded(proxy: Any, weight: torch.Tensor) -> torch.Tensor:
    # Called as an operator, it is out of reach of the modes that emulate autocast.
    out: torch.Tensor = _aten.baddbmm.default(weight, proxy.lhs, proxy.rhs, alpha=proxy.scaling)
    return out


@contextmanager
def _adamss_equal_clusters(config: Any) -> Iterator[None]:
    """AdaMSS clusters the rows of each weight; rows taken in turn give as many, equally large clusters.

    The parameters do not depend on the sizes while no cluster has fewer rows than `subspace_rank` (adamss/layer.py).
    Ranks found from singular values are at most the given one.
    """

    def clusters(rows: torch.Tensor, n_clusters: int, iterations: int) -> tuple[torch.Tensor, int]:
        n_rows = rows.shape[0]
        n_clusters = min(n_clusters, n_rows)
        return torch.arange(n_rows) % n_clusters, n_clusters

    def decomposed(matrix: torch.Tensor, q: int = 6, **settings: object) -> tuple[torch.Tensor, ...]:
        rows, columns = matrix.shape
        return matrix.new_empty(rows, q), matrix.new_empty(q), matrix.new_empty(columns, q)

    config.use_dynamic_rank = False
    # One decomposition per cluster and layer: their two dozen operators each would take seconds for a large model.
    with patch.object(adamss_layer, "clustering_Z", clusters), patch.object(torch, "svd_lowrank", decomposed):
        yield


@contextmanager
def _boft_permutations(config: Any) -> Iterator[None]:
    """BOFT writes permutation matrices number by number; they stay on the CPU (boft/layer.py)."""

    def placed(update: Callable[..., None]) -> Callable[..., None]:
        def update_layer(layer: Any, *args: Any, **kwargs: Any) -> None:
            update(layer, *args, **kwargs)
            layer.boft_P = stand_in_on_cpu(layer.boft_P.shape, layer.boft_P.dtype)

        return update_layer

    def order(layer: Any, n: int, *args: object) -> range:
        return range(n)

    def matrix(layer: Any, indices: range) -> torch.Tensor:
        return stand_in_on_cpu((len(indices), len(indices)), torch.float32)

    with ExitStack() as changes:
        changes.enter_context(patch.object(boft_layer.BOFTLayer, "block_butterfly_perm", order))
        changes.enter_context(patch.object(boft_layer.BOFTLayer, "perm2mat", matrix))
        for kind in (boft_layer.Linear, boft_layer.Conv2d):
            owner = kind if "update_layer" in vars(kind) else boft_layer.BOFTLayer
            changes.enter_context(patch.object(kind, "update_layer", placed(owner.update_layer)))
        yield


@contextmanager
def _frod_projections(config: Any) -> Iterator[None]:
    """FRoD decomposes the base weights together; projections and indices stay on the CPU (frod/model.py, layer.py).

    Targeted base weights are moved to the CPU before the first forward pass where the configuration says so and no
    dropout needs them.
    """
    place = frod_model.FrodModel._create_and_replace

    def create_and_replace(
        model: Any,
        config: Any,
        adapter_name: str,
        target: Any,
        target_name: str,
        parent: nn.Module,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        place(model, config, adapter_name, target, target_name, parent, *args, **kwargs)
        base: Any = getattr(parent, target_name).get_base_layer()
        if config.runtime_offload_base_weight and not config.frod_dropout:
            on_cpu = stand_in_on_cpu(base.weight.shape, base.weight.dtype)
            base.weight = nn.Parameter(on_cpu, requires_grad=False)

    def factors(layer: Any, basis: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return stand_in_on_cpu(weight.shape, weight.dtype), stand_in_on_cpu(weight.shape[1:], torch.float32)

    with (
        patch.object(frod_model.FrodModel, "_init_frod_projections", _frod_buffers),
        patch.object(frod_layer.FrodLayer, "_calculate_frod_u_and_lambda", factors),
        patch.object(frod_model.FrodModel, "_create_and_replace", create_and_replace),
    ):
        yield


def _frod_buffers(model: Any, config: Any, adapter_name: str) -> None:
    """Make FRoD's buffers, one set for all modules of one role, of the shapes that frod/model.py gives them."""
    for name in ("frod_V", "frod_s_indices", "frod_s_size"):
        if not hasattr(model, name):
            setattr(model, name, nn.ModuleDict())
    chosen = model._prepare_adapter_config(config, model.get_model_config(model.model))
    chosen = _maybe_include_all_linear_layers(chosen, model.model)
    for key, module in model.model.named_modules():
        role = frod_model._category_from_key(key)
        if role in model.frod_V or not model._check_target_module_exists(chosen, key):
            continue
        if not isinstance(module, (nn.Linear, Conv1D)):
            continue
        weight = module.weight if isinstance(module, nn.Linear) else module.weight.T
        size = weight.shape[1]
        n_entries = min(int(size * size * config.sparse_rate), size * (size - 1))
        if config.sparse_rate > 0 and size > 1:
            n_entries = max(1, n_entries)
        for store, buffer in (
            (model.frod_V, stand_in_on_cpu((size, size), weight.dtype)),
            (model.frod_s_indices, stand_in_on_cpu((2, n_entries), torch.int64)),
            (model.frod_s_size, torch.tensor([size, size])),
        ):
            store[role] = BufferDict({adapter_name: buffer}, persistent=config.save_projection)


@contextmanager
def _shadow_moved(config: Any) -> Iterator[None]:
    """ShadowPEFT moves its parts to the device of the block that they wrap, unless that is meta (shadow/model.py)."""

    def replace(model: Any, parent: nn.Module, name: str, new: nn.Module, old: nn.Module) -> None:
        setattr(parent, name, new)
        new.to(next(old.parameters()).device)

    with patch.object(ShadowModel, "_replace_module", replace):
        yield


@contextmanager
def _shira_places(config: Any) -> Iterator[None]:
    """SHiRA finds the places of its entries from a mask of ones and zeros with that many ones (shira/layer.py)."""
    if config.mask_fn is None:
        raise InputError(f"SHIRA: mask_type {printable(str(config.mask_type))} needs a function; only 'random' has one")
    build = ShiraLayer.update_layer

    def update_layer(layer: Any, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        build(layer, adapter_name, *args, **kwargs)
        n_entries = layer.shira_weight[adapter_name].numel()
        device = layer.get_base_layer().weight.device
        layer.shira_indices[adapter_name] = torch.empty(2, n_entries, dtype=torch.int32, device=device)

    config.mask_fn = _nothing_for
    with patch.object(ShiraLayer, "update_layer", update_layer):
        yield


def _nothing_for(*args: object, **kwargs: object) -> None:
    """Return no mask."""


@contextmanager
def _prompt_at_random(config: Any) -> Iterator[None]:
    """A soft prompt begun from a text or from a saved one has the shape and type of a random one.

    (prompt_tuning/model.py, multitask_prompt_tuning/model.py; the first would ask for a tokenizer, the second for a
    file of weights.)
    """
    config.prompt_tuning_init = "RANDOM"
    yield


@contextmanager
def _xlora_experts(config: Any) -> Iterator[None]:
    """X-LoRA's experts are adapters on disk: their configurations are read, their weights are not."""
    for name, folder in (config.adapters or {}).items():
        if not (Path(folder) / CONFIG_NAME).is_file():
            raise InputError(f"XLORA: expert {printable(name)} must be a local folder with an {CONFIG_NAME}")

    def no_weights(*args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        return {}

    with patch.object(save_and_load, "load_peft_weights", no_weights):
        yield


@contextmanager
def _made_on_meta(config: Any) -> Iterator[None]:
    """Tuners of `advisor.modeling.tuners` are made where the base model is; on meta no number is drawn.

    A truncated normal is drawn again until all numbers are in range, which is for ever where none is drawn.
    """
    with torch.device(_META), patch.object(nn.init, "trunc_normal_", _as_it_is):
        yield


def _as_it_is(tensor: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
    """Return a tensor without filling it."""
    return tensor


_LORA: tuple[_Change, ...] = (_lora_without_values, _monteclora_sampler, _kasa_weight_stays, _experts_without_autocast)
_CHANGES: dict[PeftType, tuple[_Change, ...]] = {
    PeftType.LORA: _LORA,
    PeftType.ADAMSS: (_adamss_equal_clusters,),
    PeftType.BOFT: (_boft_permutations,),
    PeftType.FROD: (_frod_projections,),
    PeftType.SHADOW: (_shadow_moved,),
    PeftType.SHIRA: (_shira_places,),
    PeftType.PROMPT_TUNING: (_prompt_at_random,),
    PeftType.MULTITASK_PROMPT_TUNING: (_prompt_at_random,),
    PeftType.XLORA: (*_LORA, _xlora_experts),
    **{peft_type(name): (_made_on_meta,) for name in OWN_PEFT_TYPES},
}
