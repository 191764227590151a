"""Triton kernels of AdamS: the decay is read from the device, and Σv is a by-product of the step.

Imported only where CUDA tensors take a step. `_adams_single_pass` owns the buffers that these
kernels share and says what each of them holds. All tensors of a model are cut into chunks; a
program takes one chunk, so one launch serves any number of tensors.

Departures from the paper: those of `_adams_single_pass`.
"""

import triton  # type: ignore[import-not-found, missing-import]
import triton.language as tl  # type: ignore[import-not-found, missing-import]

from etalambda.optim._adams_decision import (
    BETA1,
    BETA2,
    COEFS,
    COLUMNS,
    EPS,
    EXACT,
    EXP_AVG,
    EXP_AVG_SQ,
    GAIN,
    GROUP,
    HYPER,
    KEPT,
    MAX_EXP_AVG_SQ,
    NUMEL,
    PARAM,
    ROOT,
    SIZE,
    SKIP,
)


@triton.jit
def _at(address, DTYPE: tl.constexpr, HINT: tl.constexpr):
    """An address of the table as a pointer; HINT promises 16 bytes of alignment."""
    pointer = address.to(tl.pointer_type(DTYPE))
    if HINT:
        pointer = tl.multiple_of(pointer, 16)
    return pointer


@triton.jit
def _read(pointer, at, n, WIDE: tl.constexpr, FULL: tl.constexpr):
    if FULL:
        value = tl.load(pointer + at)
    else:
        value = tl.load(pointer + at, mask=at < n, other=0.0)
    return value.to(WIDE)


@triton.jit
def _write(pointer, at, n, value, DTYPE: tl.constexpr, FULL: tl.constexpr):
    if FULL:
        tl.store(pointer + at, value.to(DTYPE))
    else:
        tl.store(pointer + at, value.to(DTYPE), mask=at < n)


@triton.jit
def _sum_chunk(
    g_at, v_at, peak_at, start, n, keep, take, gain,
    WHAT: tl.constexpr, DTYPE: tl.constexpr, WIDE: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    total = tl.zeros([BLOCK], WIDE)
    for shift in range(0, CHUNK, BLOCK):
        at = start + shift + tl.arange(0, BLOCK)
        if WHAT == "v":
            total += _read(_at(v_at, DTYPE, FULL), at, n, WIDE, FULL)
        else:
            g = _read(_at(g_at, DTYPE, FULL), at, n, WIDE, FULL)
            if WHAT == "g2":
                total += g * g
            else:
                g = g * gain
                v = _read(_at(v_at, DTYPE, FULL), at, n, WIDE, FULL)
                v = keep * v + take * g * g
                total += tl.maximum(v, _read(_at(peak_at, DTYPE, FULL), at, n, WIDE, FULL))
    return tl.sum(total, 0)


@triton.jit(do_not_specialize=["first"])
def sums_of_chunks(
    table, grads, tensor_of, start_of, hyper, dial, scale, out, first,
    WHAT: tl.constexpr, COLUMN: tl.constexpr, ALWAYS: tl.constexpr, SCALED: tl.constexpr,
    DTYPE: tl.constexpr, WIDE: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Σv, Σg² or Σ max(v_max, v) as it will be, chunk by chunk, before anything moves.

    Unless ALWAYS, it ends at once where `decide` found that this step may use the former v̄.
    """
    wanted = 1.0
    if not ALWAYS:
        wanted = tl.load(dial + EXACT)
    if wanted != 0:
        chunk = tl.program_id(0) + first
        i = tl.load(tensor_of + chunk).to(tl.int64)
        start = tl.multiple_of(tl.load(start_of + chunk), 16)
        row = table + i * COLUMNS
        n = tl.load(row + NUMEL)
        beta2 = tl.load(hyper + tl.load(row + GROUP) * HYPER + BETA2)
        keep, take = beta2.to(WIDE), (1 - beta2).to(WIDE)
        gain = tl.full([], 1.0, WIDE)
        if SCALED:
            gain = (1.0 / tl.load(scale).to(tl.float64)).to(WIDE)
        g_at = tl.load(grads + i)
        v_at = tl.load(row + COLUMN)
        peak_at = tl.load(row + MAX_EXP_AVG_SQ)
        if (start + CHUNK <= n) & (((g_at | v_at | peak_at) & 15) == 0):
            total = _sum_chunk(
                g_at, v_at, peak_at, start, n, keep, take, gain,
                WHAT, DTYPE, WIDE, CHUNK, BLOCK, True,
            )  # fmt: skip
        else:
            total = _sum_chunk(
                g_at, v_at, peak_at, start, n, keep, take, gain,
                WHAT, DTYPE, WIDE, CHUNK, BLOCK, False,
            )  # fmt: skip
        tl.store(out + chunk, total.to(tl.float64))


@triton.jit
def _move_chunk(
    p_at, g_at, m_at, v_at, peak_at, start, n, kept, size, root, take1, keep2, take2, eps,
    gain, AMSGRAD: tl.constexpr, DTYPE: tl.constexpr, WIDE: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    p_at, g_at = _at(p_at, DTYPE, FULL), _at(g_at, DTYPE, FULL)
    m_at, v_at = _at(m_at, DTYPE, FULL), _at(v_at, DTYPE, FULL)
    peak_at = _at(peak_at, DTYPE, FULL)
    total = tl.zeros([BLOCK], WIDE)
    for shift in range(0, CHUNK, BLOCK):
        at = start + shift + tl.arange(0, BLOCK)
        g = _read(g_at, at, n, WIDE, FULL) * gain
        p = _read(p_at, at, n, WIDE, FULL)
        m = _read(m_at, at, n, WIDE, FULL)
        v = _read(v_at, at, n, WIDE, FULL)
        m = m + take1 * (g - m)
        v = keep2 * v + take2 * g * g
        _write(m_at, at, n, m, DTYPE, FULL)
        _write(v_at, at, n, v, DTYPE, FULL)
        if AMSGRAD:
            v = tl.maximum(v, _read(peak_at, at, n, WIDE, FULL))
            _write(peak_at, at, n, v, DTYPE, FULL)
        p = kept * p - size * (m / (tl.sqrt(v) * root + eps))
        _write(p_at, at, n, p, DTYPE, FULL)
        v = v.to(DTYPE).to(WIDE)
        if not FULL:
            v = tl.where(at < n, v, 0.0)
        total += v
    return tl.sum(total, 0)


@triton.jit(do_not_specialize=["last"])
def move(
    table, grads, tensor_of, start_of, hyper, coefs, dial, sums, last,
    AMSGRAD: tl.constexpr, MAXIMIZE: tl.constexpr, DTYPE: tl.constexpr, WIDE: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """θ ← kept · θ - η m̂ / (√v̂ + ε) on one chunk, and the Σv that it leaves."""
    if tl.load(dial + SKIP) == 0:
        # From the end: the gradients that `sums_of_chunks` read last are still in the cache.
        chunk = last - tl.program_id(0)
        i = tl.load(tensor_of + chunk).to(tl.int64)
        start = tl.multiple_of(tl.load(start_of + chunk), 16)
        row, own = table + i * COLUMNS, coefs + i * COEFS
        group = hyper + tl.load(row + GROUP) * HYPER
        n = tl.load(row + NUMEL)
        p_at, g_at = tl.load(row + PARAM), tl.load(grads + i)
        m_at, v_at = tl.load(row + EXP_AVG), tl.load(row + EXP_AVG_SQ)
        peak_at = tl.load(row + MAX_EXP_AVG_SQ)
        kept, size = tl.load(own + KEPT).to(WIDE), tl.load(own + SIZE).to(WIDE)
        root, eps = tl.load(own + ROOT).to(WIDE), tl.load(group + EPS).to(WIDE)
        beta2 = tl.load(group + BETA2)
        take1 = (1 - tl.load(group + BETA1)).to(WIDE)
        keep2, take2 = beta2.to(WIDE), (1 - beta2).to(WIDE)  # 1 - β in float64: 1e-5 otherwise
        gain = tl.load(dial + GAIN).to(WIDE)
        if MAXIMIZE:
            gain = -gain
        if (start + CHUNK <= n) & (((p_at | g_at | m_at | v_at | peak_at) & 15) == 0):
            total = _move_chunk(
                p_at, g_at, m_at, v_at, peak_at, start, n, kept, size, root, take1, keep2, take2,
                eps, gain, AMSGRAD, DTYPE, WIDE, CHUNK, BLOCK, True,
            )  # fmt: skip
        else:
            total = _move_chunk(
                p_at, g_at, m_at, v_at, peak_at, start, n, kept, size, root, take1, keep2, take2,
                eps, gain, AMSGRAD, DTYPE, WIDE, CHUNK, BLOCK, False,
            )  # fmt: skip
        tl.store(sums + chunk, total.to(tl.float64))
