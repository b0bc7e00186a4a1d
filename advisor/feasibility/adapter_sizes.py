"""How many parameters each method trains, the head left out: one formula per method.

Formulas follow the layers of PEFT 0.21 (`peft/tuners/*/layer.py`) and of `advisor.modeling.tuners`; tests compare
them with both. i and o are inputs and outputs of a linear layer.

Not covered: patterns of ranks and of alphas, MiSS and OFT variants that share parameters, OFT blocks that PEFT has to
adjust beyond the next divisor, biases that a checkpoint's configuration adds or takes away, relative positions of T5
where layer freezing trains all of its layers.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, isqrt

from advisor.catalog.base_models import BaseModel
from advisor.catalog.places import LINEAR_BIASES, NORMS_OF_A_LAYER
from advisor.catalog.shapes import Linear, Shape

Hyperparameters = Mapping[str, object]
Targets = Sequence[tuple[Linear, int]]


def whole_number(hyperparameters: Hyperparameters, name: str, default: int) -> int:
    """Return a whole-number hyperparameter, or the default when it is absent or of another kind."""
    value = hyperparameters.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def number(hyperparameters: Hyperparameters, name: str, default: float) -> float:
    """Return a hyperparameter that is a number, or the default when it is absent or of another kind."""
    value = hyperparameters.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def per_linear(method: str, hyperparameters: Hyperparameters, targets: Targets, model: BaseModel) -> int | None:
    """Return the parameters of a method that adapts linear layers, None for any other method.

    Args:
        method: Slug of the method.
        hyperparameters: The method's.
        targets: The linear layers that it adapts, with how often each occurs.
        model: Base model.
    """
    if method == "glora":
        biased = LINEAR_BIASES.get(model.model_type, frozenset())
        return sum(_glora(one, hyperparameters, one.role in biased) * n for one, n in targets)
    if method not in _PER_LINEAR:
        return None
    formula = _PER_LINEAR[method]
    return sum(formula(one, hyperparameters) * n for one, n in targets) + _shared(method, hyperparameters, targets)


def _shared(method: str, hyperparameters: Hyperparameters, targets: Targets) -> int:
    """Return the parameters that all layers have together."""
    if method == "vblora":
        return whole_number(hyperparameters, "num_vectors", 256) * whole_number(hyperparameters, "vector_length", 256)
    if method == "unilora":
        return whole_number(hyperparameters, "theta_d_length", 256)
    if method == "lily":  # experts B, one set for all modules of a kind
        rank, experts = whole_number(hyperparameters, "r", 32), whole_number(hyperparameters, "num_B", 2)
        return sum(experts * rank * one.outputs for one, _ in targets)
    return 0


def _rank(hyperparameters: Hyperparameters, default: int = 8) -> int:
    return whole_number(hyperparameters, "r", default)


def _lokr(one: Linear, hyperparameters: Hyperparameters) -> int:
    rank, factor = _rank(hyperparameters), whole_number(hyperparameters, "decompose_factor", -1)
    (in_left, in_right), (out_left, out_right) = _factors(one.inputs, factor), _factors(one.outputs, factor)
    left, right = in_left * out_left, in_right * out_right
    if hyperparameters.get("decompose_both") and rank < max(in_left, out_left) / 2:
        left = rank * (in_left + out_left)
    if rank < max(in_right, out_right) / 2:
        right = rank * (in_right + out_right)
    return left + right


def _factors(size: int, wanted: int) -> tuple[int, int]:
    """Split a size into two factors: the wanted one where it divides, else the pair nearest to each other."""
    if wanted > 0 and size % wanted == 0:
        return wanted, size // wanted
    most = min(isqrt(size), wanted) if wanted > 0 else isqrt(size)
    smaller = next(one for one in range(most, 0, -1) if size % one == 0)
    return smaller, size // smaller


def _randlora(one: Linear, hyperparameters: Hyperparameters) -> int:
    rank, least = _rank(hyperparameters, 32), min(one.inputs, one.outputs)
    bases = ceil(least / rank)
    return bases * (rank + least)


def _oft(one: Linear, hyperparameters: Hyperparameters) -> int:
    wanted = min(whole_number(hyperparameters, "oft_block_size", 32), one.inputs)
    higher = next(size for size in range(wanted, one.inputs + 1) if one.inputs % size == 0)
    lower = next(size for size in range(wanted, 0, -1) if one.inputs % size == 0)
    size = lower if wanted - lower <= higher - wanted else higher
    return one.inputs // size * (size * (size - 1) // 2)


def _deft(one: Linear, hyperparameters: Hyperparameters) -> int:
    rank = min(_rank(hyperparameters), one.outputs)
    return rank * (one.outputs + (0 if hyperparameters.get("para") else one.inputs))


def _glora(one: Linear, hyperparameters: Hyperparameters, has_bias: bool) -> int:
    rank = _rank(hyperparameters)
    pair = {"lora": rank * (one.inputs + one.outputs), "vector": one.outputs, "constant": 1}
    total = 2 * pair.get(str(hyperparameters.get("config_A_B", "lora")), 0)
    if has_bias:
        total += {"lora": rank * (one.inputs + 1), "vector": one.inputs}.get(str(hyperparameters.get("config_C")), 0)
        total += 2 * {"vector": one.outputs, "constant": 1}.get(str(hyperparameters.get("config_D_E", "constant")), 0)
    return total


def _vblora(one: Linear, hyperparameters: Hyperparameters) -> int:
    length = whole_number(hyperparameters, "vector_length", 256)
    parts = one.inputs // length + one.outputs // length
    return _rank(hyperparameters, 4) * parts * whole_number(hyperparameters, "num_vectors", 256)


def _peanut(one: Linear, hyperparameters: Hyperparameters) -> int:
    rank = _rank(hyperparameters, 32)
    return 2 * rank * (one.outputs + whole_number(hyperparameters, "depth", 0) * rank)


def _lily(one: Linear, hyperparameters: Hyperparameters) -> int:
    """A projection and the router of a layer; `stride_A` layers share a projection."""
    rank = _rank(hyperparameters, 32)
    stride = whole_number(hyperparameters, "stride_A", 1)
    return rank * one.inputs // stride + rank * whole_number(hyperparameters, "num_B", 2)


def _osf(one: Linear, hyperparameters: Hyperparameters) -> int:
    """The lower singular triples: the upper half is kept unless `effective_rank` says how many are."""
    least = min(one.inputs, one.outputs)
    rank = least - whole_number(hyperparameters, "effective_rank", least // 2)
    return rank * (one.inputs + one.outputs + 1)


def _adamss(one: Linear, hyperparameters: Hyperparameters) -> int:
    rank, subspaces = (
        whole_number(hyperparameters, "subspace_rank", 1),
        whole_number(hyperparameters, "num_subspaces", 5),
    )
    return rank * (min(subspaces, one.outputs) * min(_rank(hyperparameters, 100), one.outputs) + one.outputs)


def _low_rank(one: Linear, hyperparameters: Hyperparameters) -> int:
    return _rank(hyperparameters) * (one.inputs + one.outputs)


_ROAD = {"road_1": 1, "road_2": 2, "road_4": 4}
_PER_LINEAR: Mapping[str, Callable[[Linear, Hyperparameters], int]] = {
    "adalora": lambda one, given: whole_number(given, "init_r", 12) * (one.inputs + one.outputs + 1),
    "ff-lora": _low_rank,
    "hira": _low_rank,
    "shira": _low_rank,
    "gralora": lambda one, given: (_rank(given, 32) + whole_number(given, "hybrid_r", 0)) * (one.inputs + one.outputs),
    "loha": lambda one, given: 2 * _low_rank(one, given),
    "delora": lambda one, given: _low_rank(one, given) + 1,
    "lokr": _lokr,
    "vera": lambda one, given: _rank(given, 256) + one.outputs,
    "pvera": lambda one, given: 2 * _rank(given, 256) + one.outputs,
    "randlora": _randlora,
    "vblora": _vblora,
    "unilora": lambda one, given: 0,
    "tinylora": lambda one, given: whole_number(given, "u", 64),
    "lily": _lily,
    "adamss": _adamss,
    "peanut": _peanut,
    "deft": _deft,
    "beft": lambda one, given: one.outputs,
    "supertuning": lambda one, given: int(one.inputs * one.outputs * (1 - number(given, "sparsity", 0.99))),
    "oft": _oft,
    "boft": lambda one, given: one.inputs * whole_number(given, "boft_block_size", 4) + one.outputs,
    "hra": lambda one, given: _rank(given) * one.inputs,
    "psoft": lambda one, given: _rank(given, 32) * (_rank(given, 32) - 1) // 2 + 2 * _rank(given, 32),
    "road": lambda one, given: _ROAD.get(str(given.get("variant", "road_1")), 1) * one.outputs,
    "c3a": lambda one, given: one.inputs * one.outputs // whole_number(given, "block_size", 256),
    "fourierft": lambda one, given: whole_number(given, "n_frequency", 1000),
    "waveft": lambda one, given: whole_number(given, "n_frequency", 2592),
    "frod": lambda one, given: max(1, int(one.inputs**2 * number(given, "sparse_rate", 0.01))) + one.inputs,
    "miss": lambda one, given: _rank(given, 64) * one.outputs,
    "osf": _osf,
}  # fmt: skip


def bottleneck_params(method: str, hyperparameters: Hyperparameters, shape: Shape) -> int:
    """Return the parameters of a method with bottleneck adapters.

    Houlsby adapters are two in a layer, all others one. Of what is made of trained adapters, these are not counted:
    they stay as they are.
    """
    layers = shape.layers + shape.decoder_layers
    if method == "mam":
        return layers * _bottleneck(hyperparameters, shape, 2) + _prefixes(hyperparameters, shape)
    if method == "ff-lora-adapter":
        forward = sum(_low_rank(one, hyperparameters) for one in shape.feed_forward)
        return layers * (_bottleneck(hyperparameters, shape, 16) + forward)
    if method == "compacter":
        return 2 * layers * _hypercomplex(hyperparameters, shape) + whole_number(hyperparameters, "phm_dim", 4) ** 3
    if method == "adapter-fusion":
        # Q, K and V; V has no bias.
        return _places(method, hyperparameters, shape) * (3 * shape.hidden**2 + 2 * shape.hidden)
    return _places(method, hyperparameters, shape) * _bottleneck(hyperparameters, shape, 16)


def has_two_places(method: str, hyperparameters: Hyperparameters) -> bool:
    """Does a method have bottleneck adapters after both sublayers: Houlsby's, or what is made of such?"""
    composed = method in ("adapter-stack", "adapter-fusion")
    return method == "adapter-houlsby" or (composed and hyperparameters.get("placement") == "houlsby")


def _places(method: str, hyperparameters: Hyperparameters, shape: Shape) -> int:
    """Return how many modules carry adapters."""
    layers = shape.layers + shape.decoder_layers
    if not has_two_places(method, hyperparameters):
        return layers
    return 2 * layers + (shape.decoder_layers if hyperparameters.get("cross_adapter") else 0)


def bottleneck_size(hyperparameters: Hyperparameters, shape: Shape, reduction_factor: float) -> int:
    """Return the inner size of an adapter, whose default reduction factor is given."""
    return max(1, int(shape.hidden // number(hyperparameters, "reduction_factor", reduction_factor)))


def _bottleneck(hyperparameters: Hyperparameters, shape: Shape, reduction_factor: float) -> int:
    inner = bottleneck_size(hyperparameters, shape, reduction_factor)
    return 2 * shape.hidden * inner + inner + shape.hidden


def hypercomplex_size(hyperparameters: Hyperparameters, shape: Shape) -> int:
    """Return the inner size of Compacter's adapters, a multiple of the terms of their sum."""
    terms = whole_number(hyperparameters, "phm_dim", 4)
    return max(terms, bottleneck_size(hyperparameters, shape, 32) // terms * terms)


def _hypercomplex(hyperparameters: Hyperparameters, shape: Shape) -> int:
    inner = hypercomplex_size(hyperparameters, shape)
    rank = whole_number(hyperparameters, "phm_rank", 1)
    return (2 * rank + 1) * (shape.hidden + inner)


def _prefixes(hyperparameters: Hyperparameters, shape: Shape) -> int:
    """Return the parameters of MAM's prefix networks: one for the encoder, two for a decoder that sees an encoder."""
    tokens = whole_number(hyperparameters, "num_prefix_tokens", 30)
    inner = whole_number(hyperparameters, "prefix_hidden_size", 800)
    stacks = [shape.layers, *([shape.decoder_layers] * 2 if shape.decoder_layers else [])]
    below = tokens * shape.hidden + shape.hidden * inner + inner
    return sum(below + (inner + 1) * layers * 2 * shape.kv_size for layers in stacks)


def bias_params(model: BaseModel) -> int:
    """Return the number of biases that BitFit trains: of linear layers and normalisations."""
    shape, biased = model.shape, LINEAR_BIASES.get(model.model_type, frozenset())
    linear = sum(one.outputs * n for one, n in shape.linears() if one.role in biased)
    if not (shape.layernorm and biased):
        return linear
    in_layers = NORMS_OF_A_LAYER.get(model.model_type, 2) * shape.layers + 3 * shape.decoder_layers
    return linear + (in_layers + (2 if shape.decoder_layers else 1)) * shape.hidden


def top_layer_params(hyperparameters: Hyperparameters, model: BaseModel) -> int:
    """Return the parameters of the top layers of each stack."""
    shape, biased = model.shape, LINEAR_BIASES.get(model.model_type, frozenset())
    wanted = whole_number(hyperparameters, "trained_layers", 4)
    numbers = 2 if shape.layernorm and biased else 1

    def layer(linears: Sequence[Linear], norms: int) -> int:
        weights = sum(one.inputs * one.outputs + (one.outputs if one.role in biased else 0) for one in linears)
        return weights + norms * numbers * shape.hidden

    norms = NORMS_OF_A_LAYER.get(model.model_type, 2)
    total = min(wanted, shape.layers) * layer((*shape.attention, *shape.feed_forward), norms)
    crossed = (*shape.attention, *shape.attention, *shape.feed_forward)
    return total + min(wanted, shape.decoder_layers) * layer(crossed, norms + 1)
