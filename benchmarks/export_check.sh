#!/usr/bin/env bash
# Feeds what `etalambda suggest --as TOOL` prints to the tools themselves, in an environment of their
# own (torchtitan, Megatron, DeepSpeed and optax want dependencies that this project does not):
# benchmarks/export_check.sh [ENVIRONMENT]   keeps the environment where one is named
set -euo pipefail
cd "$(dirname "$0")/.."
env=${1:-$(mktemp -d)}
[ -n "${1:-}" ] || trap 'rm -rf "$env"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONPATH=$PWD/src PYTHONDONTWRITEBYTECODE=1
if [ ! -f "$env/.tools" ]; then
    "${PYTHON:-python3}" -m venv "$env"
    "$env/bin/pip" install -q "torch==$(sed -n 's/^torch==//p' constraints.txt)" numpy scipy tyro
    "$env/bin/pip" install -q --no-deps megatron-core torchtitan deepspeed spmd_types \
        torch_checkpointing torchdata safetensors
    "$env/bin/pip" install -q optax pytest hypothesis tensorboard hjson msgpack packaging psutil \
        py-cpuinfo pydantic tqdm einops ninja
    touch "$env/.tools"
fi
"$env/bin/pip" list 2>/dev/null |
    grep -E "^(torch|torchtitan|megatron-core|deepspeed|optax|jax) " || true
"$env/bin/python" -m pytest -q -p no:cacheprovider tests/suggest/test_export_tools.py \
    -k "not transformers" -v
