"""What a step of AdamS decides once for all tensors, on the device: v̄, the decay, the step sizes.

One program; it reads and writes the small tables whose columns are named here, which
`_adams_kernels` shares and `_adams_single_pass` owns.
"""

import triton  # type: ignore[import-not-found, missing-import]
import triton.language as tl  # type: ignore[import-not-found, missing-import]

# Columns of the table of tensors (int64).
PARAM = tl.constexpr(0)
EXP_AVG = tl.constexpr(1)
EXP_AVG_SQ = tl.constexpr(2)
MAX_EXP_AVG_SQ = tl.constexpr(3)
STEP = tl.constexpr(4)
NUMEL = tl.constexpr(5)
GROUP = tl.constexpr(6)
COLUMNS = tl.constexpr(7)
# Hyperparameters of a group (float64).
LR = tl.constexpr(0)
WEIGHT_DECAY = tl.constexpr(1)
BETA1 = tl.constexpr(2)
BETA2 = tl.constexpr(3)
EPS = tl.constexpr(4)
POWER = tl.constexpr(5)
HYPER = tl.constexpr(6)
# What `decide` works out for a tensor (float64); from RATE on it is for the next step.
KEPT = tl.constexpr(0)
SIZE = tl.constexpr(1)
ROOT = tl.constexpr(2)
RATE = tl.constexpr(3)
BASE = tl.constexpr(4)
PAST = tl.constexpr(5)
NEXT = tl.constexpr(6)
FORGET = tl.constexpr(7)
COEFS = tl.constexpr(8)
# Numbers of the whole model (float64).
EXACT = tl.constexpr(0)
SKIP = tl.constexpr(1)
GAIN = tl.constexpr(2)
COUNT = tl.constexpr(3)
TOLERANCE = tl.constexpr(4)
MAX_NORM = tl.constexpr(5)
V_MEAN = tl.constexpr(6)


@triton.jit
def _power(v_mean, exponent):
    """v̄^(-p), and 0 where v̄ = 0: no decay."""
    safe = tl.where(v_mean > 0, v_mean, 1.0)
    return tl.where(v_mean > 0, tl.exp(-exponent * tl.log(safe)), 0.0)


@triton.jit
def _correction(step, beta):
    """1 - β^t in float64; 1 for β = 0."""
    safe = tl.where(beta > 0, beta, 0.5)
    return tl.where(beta > 0, 1 - tl.exp(step * tl.log(safe)), 1.0)


@triton.jit
def _step_of(table, i, mask):
    address = tl.load(table + i * COLUMNS + STEP, mask=mask, other=0)
    return address.to(tl.pointer_type(tl.float32))


@triton.jit(do_not_specialize=["tensors"])
def weigh(table, hyper, coefs, tensors, TENSORS: tl.constexpr):
    """What Σv of each tensor counts in v̄ of the last step and of the next: for fresh buffers."""
    i = (tl.program_id(0) * TENSORS + tl.arange(0, TENSORS)).to(tl.int64)
    mask = i < tensors
    row = hyper + tl.load(table + i * COLUMNS + GROUP, mask=mask, other=0) * HYPER
    beta2 = tl.load(row + BETA2, mask=mask, other=0.5)
    step = tl.load(_step_of(table, i, mask), mask=mask, other=1.0).to(tl.float64)
    past = 1 / _correction(tl.maximum(step, 1.0), beta2)
    own = coefs + i * COEFS
    tl.store(own + PAST, tl.where(step > 0, past, 0.0), mask=mask)
    tl.store(own + NEXT, 1 / _correction(step + 1, beta2), mask=mask)
    tl.store(own + FORGET, beta2, mask=mask)


@triton.jit(do_not_specialize=["chunks", "tensors"])
def decide(
    table, tensor_of, hyper, sums, ahead, coefs, dial, scale, found_inf, chunks, tensors,
    SCALED: tl.constexpr, CHECKED: tl.constexpr, CLIP: tl.constexpr, PEAKS: tl.constexpr,
    BLOCK: tl.constexpr, TENSORS: tl.constexpr,
):  # fmt: skip
    """One program: v̄, what each tensor keeps, its step size, and its counter.

    ``sums`` holds Σv of the chunks as the last step left them, ``ahead`` what `sums_of_chunks`
    found of this step. c is the decay rate η λ v̄^(-p), at most 1.
    """
    overflow = tl.full([], 0.0, tl.float32)
    if CHECKED:
        overflow = tl.load(found_inf).to(tl.float32)
    if overflow > 0:
        tl.store(dial + SKIP, 1.0)
    else:
        zeros = tl.zeros([BLOCK], tl.float64)
        former, kept_part, new_part, norm2 = zeros, zeros, zeros, zeros
        exact = tl.load(dial + EXACT)
        for begin in range(0, chunks, BLOCK):
            chunk = begin + tl.arange(0, BLOCK)
            mask = chunk < chunks
            i = tl.load(tensor_of + chunk, mask=mask, other=0).to(tl.int64)
            own = coefs + i * COEFS
            before = tl.load(sums + chunk, mask=mask, other=0.0)
            found = tl.load(ahead + chunk, mask=mask, other=0.0)
            weight = tl.load(own + NEXT, mask=mask, other=0.0)
            beta2 = tl.load(own + FORGET, mask=mask, other=0.0)
            former += before * tl.load(own + PAST, mask=mask, other=0.0)
            if PEAKS:
                kept_part += found * weight
            else:
                kept_part += beta2 * before * weight
                new_part += (1 - beta2) * found * weight
                norm2 += found
        gain = tl.full([], 1.0, tl.float64)
        if SCALED:
            gain = 1 / tl.load(scale).to(tl.float64)
        if CLIP:
            norm = tl.sqrt(tl.sum(norm2, 0)) * gain
            clip = tl.load(dial + MAX_NORM) / (norm + 1e-6)
            gain = gain * tl.where(clip < 1, clip, tl.where(clip == clip, 1.0, clip))
        count = tl.load(dial + COUNT)
        past_mean = tl.sum(former, 0) / count
        if PEAKS:
            mean = tl.sum(kept_part, 0) / count
        else:
            mean = (tl.sum(kept_part, 0) + gain * gain * tl.sum(new_part, 0)) / count
        mean = tl.where(exact != 0, mean, past_mean)
        tl.debug_barrier()  # every coefficient has been read
        worst = tl.zeros([TENSORS], tl.float64)
        highest = worst
        for begin in range(0, tensors, TENSORS):
            i = (begin + tl.arange(0, TENSORS)).to(tl.int64)
            mask = i < tensors
            row = hyper + tl.load(table + i * COLUMNS + GROUP, mask=mask, other=0) * HYPER
            lr = tl.load(row + LR, mask=mask, other=0.0)
            rate = lr * tl.load(row + WEIGHT_DECAY, mask=mask, other=0.0)
            power = tl.load(row + POWER, mask=mask, other=0.0)
            own = coefs + i * COEFS
            last_rate = tl.load(own + RATE, mask=mask, other=0.0)
            last_base = tl.load(own + BASE, mask=mask, other=0.0)
            past_power = _power(tl.zeros([TENSORS], tl.float64) + past_mean, power)
            carry = tl.minimum(last_rate * past_power, 1.0) - last_base
            base = tl.minimum(rate * _power(tl.zeros([TENSORS], tl.float64) + mean, power), 1.0)
            lagged = tl.abs(base - tl.minimum(rate * past_power, 1.0))
            worst = tl.maximum(worst, tl.where(exact != 0, lagged, tl.abs(carry)))
            highest = tl.maximum(highest, base)
            pointer = _step_of(table, i, mask)
            step = tl.load(pointer, mask=mask, other=0.0) + 1
            tl.store(pointer, step, mask=mask)
            step = step.to(tl.float64)
            beta1 = tl.load(row + BETA1, mask=mask, other=0.5)
            beta2 = tl.load(row + BETA2, mask=mask, other=0.5)
            tl.store(own + KEPT, tl.maximum(1 - base - carry, 0.0), mask=mask)
            tl.store(own + SIZE, lr / _correction(step, beta1), mask=mask)
            correction = _correction(step, beta2)
            tl.store(own + ROOT, 1 / tl.sqrt(correction), mask=mask)
            tl.store(own + PAST, 1 / correction, mask=mask)
            tl.store(own + NEXT, 1 / _correction(step + 1, beta2), mask=mask)
            tl.store(own + FORGET, beta2, mask=mask)
            tl.store(own + RATE, rate, mask=mask)
            tl.store(own + BASE, base, mask=mask)
        deviation, decay = tl.max(worst, 0), tl.max(highest, 0)
        again = (deviation >= tl.load(dial + TOLERANCE)) | (decay > 1e-3)
        tl.store(dial + EXACT, tl.where(again, 1.0, 0.0))
        tl.store(dial + SKIP, 0.0)
        tl.store(dial + GAIN, gain)
        tl.store(dial + V_MEAN, mean)
