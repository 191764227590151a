"""The degree of an operation's result from the degrees of its inputs, by operation.

A degree table maps a parameter's index to its degree: a number, NaN for "not homogeneous", or
``Shifted``. A parameter that is missing does not enter, which has degree 0. An operation that no
rule knows keeps degree 0 and spoils every other degree: unknown is never taken for invariant.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor


class Shifted(NamedTuple):
    """Homogeneous of this degree up to an offset that is constant in each channel (dim 1)."""

    degree: float


Degrees = dict[int, float | Shifted]
Call = dict[str, Any]
Inputs = dict[str, list[Degrees]]
SMALL = 1e-3  # an added constant of at most this is a norm's ε


def apply(name: str, call: Call, inputs: Inputs) -> list[Degrees]:
    """The degree tables of an operation's results; the last one stands for all that follow."""
    if "batch_norm" in name:
        return [_norm(call, inputs, training=_is_training(name, call), centred=True), {}]
    if name.startswith("_scaled_dot_product"):
        return [_attention(inputs)]
    if name.endswith("_like") or name.startswith("new_") or name in ("zero", "fill"):
        return [{}]
    return _RULES.get(name, _invariant)(call, inputs)


def equal(tables: list[Degrees]) -> Degrees:
    """A sum, a choice or a concatenation: one degree for all, else not homogeneous."""
    first, *rest = tables or [{}]
    return {
        key: _plain(first, key)
        if all(_plain(t, key) == _plain(first, key) for t in rest)
        else math.nan
        for key in _keys(tables)
    }


def _plain(table: Degrees, key: int) -> float:
    degree = table.get(key, 0.0)
    return math.nan if isinstance(degree, Shifted) else degree


def _keys(tables: list[Degrees]) -> dict[int, None]:
    return {key: None for table in tables for key in table}


def _tables(inputs: Inputs) -> list[Degrees]:
    return [table for tables in inputs.values() for table in tables]


def _one(inputs: Inputs, *names: str) -> Degrees:
    return next((inputs[name][0] for name in names if inputs.get(name)), {})


def _times(a: Degrees, b: Degrees, power: float = 1.0) -> Degrees:
    return {key: _plain(a, key) + power * _plain(b, key) for key in _keys([a, b])}


def _is_neutral(value: Any) -> bool:
    """0, ±inf and a norm's ε change no degree when they are added, chosen or filled in."""
    if value is None:
        return True
    if isinstance(value, Tensor):  # a wrapped number
        return value.dim() == 0 and _is_neutral(value.item())
    return not isinstance(value, complex) and (abs(value) <= SMALL or math.isinf(value))


def _invariant(call: Call, inputs: Inputs) -> list[Degrees]:
    tables = _tables(inputs)
    return [{k: 0.0 if all(_plain(t, k) == 0 for t in tables) else math.nan for k in _keys(tables)}]


def _power(exponent: float) -> Callable[[Call, Inputs], list[Degrees]]:
    def rule(call: Call, inputs: Inputs) -> list[Degrees]:
        first, *rest = _tables(inputs) or [{}]
        spoiled = _invariant(call, {"rest": rest})[0]  # indices, masks: must not move
        return [_times(_times({}, first, exponent), spoiled)]

    return rule


def _view(call: Call, inputs: Inputs) -> list[Degrees]:
    """An instance norm is a batch norm on (1, N·C, ...): what is constant in a channel stays so."""
    source, size = call.get("self"), call.get("size")
    if isinstance(source, Tensor) and size is not None and source.dim() == len(size) > 1:
        folded = [1, source.shape[0] * source.shape[1], *source.shape[2:]]
        if list(size) in (folded, list(source.shape)):
            return [dict(_one(inputs, "self"))]
    return _power(1.0)(call, inputs)


def _weight_norm(call: Call, inputs: Inputs) -> list[Degrees]:
    """g v / ‖v‖: Salimans & Kingma's direction v has degree 0."""
    direction: Degrees = {
        key: 0.0 * _plain(table, key) for table in inputs.get("v", []) for key in table
    }
    return [_times(direction, _one(inputs, "g"))]


def _pow(call: Call, inputs: Inputs) -> list[Degrees]:
    exponent = call.get("exponent")
    if not isinstance(exponent, int | float) or not inputs.get("self"):
        return _invariant(call, inputs)
    return _power(exponent)(call, inputs)


def _var_mean(call: Call, inputs: Inputs) -> list[Degrees]:
    return [*_power(2.0)(call, inputs), *_power(1.0)(call, inputs)]


def _add(call: Call, inputs: Inputs) -> list[Degrees]:
    terms = [call.get(name) for name in ("self", "other", "value", "tensors", "src")]
    flat = [t for term in terms for t in (term if isinstance(term, list | tuple) else [term])]
    kept = [t for t in flat if t is not None]
    tables, i = [], _tables({k: v for k, v in inputs.items() if k not in ("condition", "mask")})
    for term in kept:
        degrees = i.pop(0) if isinstance(term, Tensor) else {}
        if degrees or not _is_neutral_term(term):
            tables.append(degrees)
    picks = {k: v for k, v in inputs.items() if k in ("condition", "mask")}
    return [_times(equal(tables), _invariant(call, picks)[0])]


def _is_neutral_term(term: Any) -> bool:
    if isinstance(term, Tensor) and term.numel() == 0:  # a key-value cache starts empty
        return True
    return (not isinstance(term, Tensor) or term.dim() == 0) and _is_neutral(term)


def _mul(call: Call, inputs: Inputs) -> list[Degrees]:
    return [_times(_one(inputs, "self"), _one(inputs, "other", "mat2", "vec2", "vec", "tensor"))]


def _div(call: Call, inputs: Inputs) -> list[Degrees]:
    return [_times(_one(inputs, "self"), _one(inputs, "other"), -1.0)]


def _clamp(call: Call, inputs: Inputs) -> list[Degrees]:
    bounds = [call.get("min"), call.get("max")]
    if any(isinstance(b, Tensor) or not _is_neutral(b) for b in bounds):
        return _invariant(call, inputs)
    return _power(1.0)(call, inputs)


def _compare(call: Call, inputs: Inputs) -> list[Degrees]:
    """The sign of a homogeneous value, and an order among values of one degree, do not change."""
    same = _add(call, inputs)[0]
    return [{key: 0.0 * _plain(same, key) for key in same}]


def _copy(call: Call, inputs: Inputs) -> list[Degrees]:
    return [_one(inputs, "src")]


def _layer(call: Call, inputs: Inputs) -> list[Degrees]:
    """Convolutions and linear maps: product, plus a bias that is constant in each channel."""
    product = _times(
        _one(inputs, "input", "mat1", "batch1"), _one(inputs, "weight", "mat2", "batch2")
    )
    if not (inputs.get("bias") or inputs.get("self")):
        return [product]
    bias = _one(inputs, "bias", "self")
    both = equal([product, bias])
    shifted = {key: Shifted(_plain(product, key)) for key in both if math.isnan(_plain(both, key))}
    return [both | {key: s for key, s in shifted.items() if not math.isnan(s.degree)}]


def _norm(call: Call, inputs: Inputs, *, training: bool = True, centred: bool = False) -> Degrees:
    """A norm forgets any degree of its input; its gain and offset then enter as always."""
    source = _one(inputs, "input")
    if not training:  # a batch norm with running statistics is a fixed affine map
        return _invariant(call, inputs)[0]
    size = {}
    for key, degree in source.items():
        if isinstance(degree, Shifted) and centred:
            size |= {} if degree.degree == 0 else {key: 0.0}  # only the lost offset knew it
        else:
            size[key] = 0.0 * _plain(source, key)
    gained = _times(size, _one(inputs, "weight"))
    return equal([gained, _one(inputs, "bias")]) if inputs.get("bias") else gained


def _plain_norm(call: Call, inputs: Inputs) -> list[Degrees]:
    return [_norm(call, inputs), {}]


def _is_training(name: str, call: Call) -> bool:
    return bool(call.get("training", call.get("train", name.endswith("with_update"))))


def _attention(inputs: Inputs) -> Degrees:
    scores = _times(_one(inputs, "query"), _one(inputs, "key"))
    fixed = _invariant({}, {"scores": [scores], "mask": inputs.get("attn_mask", [])})[0]
    return _times(fixed, _one(inputs, "value"))


def _each(names: str, rule: Callable[[Call, Inputs], list[Degrees]]) -> dict[str, Any]:
    return dict.fromkeys(names.split(), rule)


_KEEP = """
relu leaky_relu neg abs sum mean amax amin max min sort topk cumsum std norm linalg_vector_norm
clone _unsafe_view reshape expand permute transpose t squeeze unsqueeze slice select split
split_with_sizes unbind alias detach _to_copy lift_fresh contiguous flip roll repeat as_strided
index index_select gather masked_select embedding diagonal unfold im2col tril triu movedim
view_as_real view_as_complex constant_pad_nd reflection_pad2d pixel_shuffle native_dropout
max_pool1d max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d avg_pool1d avg_pool2d
avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d upsample_nearest2d upsample_bilinear2d
"""
_RULES: dict[str, Callable[[Call, Inputs], list[Degrees]]] = {
    **_each(_KEEP, _power(1.0)),
    **_each("add sub maximum minimum cat stack where masked_fill", _add),
    **_each("mul mm bmm dot vdot mv outer", _mul),
    **_each("convolution _convolution linear addmm baddbmm", _layer),
    **_each("gt ge lt le eq ne sign argmax argmin", _compare),
    **_each("clamp clamp_min clamp_max", _clamp),
    **_each("native_layer_norm native_group_norm _fused_rms_norm", _plain_norm),
    "_weight_norm_interface": _weight_norm,
    "copy": _copy,
    "div": _div,
    "pow": _pow,
    "square": _power(2.0),
    "var": _power(2.0),
    "sqrt": _power(0.5),
    "rsqrt": _power(-0.5),
    "reciprocal": _power(-1.0),
    "var_mean": _var_mean,
    "view": _view,
}
