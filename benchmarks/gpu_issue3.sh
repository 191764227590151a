#!/usr/bin/env bash
# The optimizers on a CUDA machine: tests and benchmarks.
#
#     bash benchmarks/gpu_issue3.sh OUT [SECONDS] [--sweep]     (default 100)
#
# OUT gets env.txt, tests_cuda.log, tests_optim.log, bench.log and cuda_optim.json. Nothing needs to
# be installed but torch, triton, pytest, pytest-xdist and hypothesis; other plugins of pytest stay
# out. The tests that need no GPU run beside the rest. A part that fails or runs out of time does
# not stop the next.
set -u
out=$(mkdir -p "$1" && cd "$1" && pwd)
total=${2:-100}
extra=("${@:3}")
cd "$(dirname "$0")/.." || exit 1
export PYTHONPATH="$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
python=${PYTHON:-python3}
begun=$SECONDS
left() { local l=$((total - (SECONDS - begun))); echo $((l < 5 ? 5 : (l < $1 ? l : $1))); }
# torch's OptimizerInfo imports expecttest and needs only that it is there.
if ! "$python" -c "import expecttest" 2>/dev/null; then
    stub=$(mktemp -d)
    printf 'import unittest\n\n\nclass TestCase(unittest.TestCase):\n    pass\n' >"$stub/expecttest.py"
    export PYTHONPATH="$PYTHONPATH:$stub"
fi
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
# Warnings of another torch are no failures here.
options=(-q -p xdist.plugin -p _hypothesis_pytestplugin -p no:cacheprovider -o addopts=
    --strict-markers -W default -ra --tb=short)

{
    "$python" -c "import torch; print(torch.__version__, torch.cuda.is_available() and torch.cuda.get_device_name())"
    "$python" -c "import triton; print('triton', triton.__version__)"
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm --format=csv
} >"$out/env.txt" 2>&1
cat "$out/env.txt"

CUDA_VISIBLE_DEVICES="" timeout -s INT -k 5 "$(left $((total - 5)))" "$python" -m pytest "${options[@]}" -n 6 \
    -m "not slow and not dist" tests/optim tests/test_laws.py \
    >"$out/tests_optim.log" 2>&1 &
others=$!

echo "== a. the tests on the GPU"
timeout -s INT -k 5 "$(left 60)" "$python" -m pytest "${options[@]}" -n 8 tests/optim/test_cuda_*.py \
    tests/optim/test_single_pass.py >"$out/tests_cuda.log" 2>&1
echo "exit $?"
tail -n 60 "$out/tests_cuda.log"

echo "== b. the benchmark"
timeout -s INT -k 5 "$(left 60)" "$python" -m benchmarks.cuda_optim --out "$out/cuda_optim.json" \
    --seconds "$(($(left 40) - 4))" --row-seconds 0.3 "${extra[@]}" >"$out/bench.log" 2>&1
echo "exit $?"
tail -n 130 "$out/bench.log"

echo "== c. the other tests of the optimizers, on this torch"
wait "$others"
echo "exit $?"
tail -n 25 "$out/tests_optim.log"
echo "== done after $((SECONDS - begun)) s"
