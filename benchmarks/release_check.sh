#!/usr/bin/env bash
# Is the wheel fit to be released? Builds it, installs it with torch alone into a new environment
# and runs the README's quickstart and the command line there; then with the lab extra, and runs the
# README's commands small: benchmarks/release_check.sh [OUT.json]. Three minutes on a quiet machine.
# PYTHON chooses the interpreter, TORCH the version (default: the one in constraints.txt).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD out=${1:-/dev/null} work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
torch=${TORCH:-$(sed -n 's/^torch==//p' constraints.txt)}
unset PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK=1

echo "== wheel"
"$python" -m venv "$work/env"
env=$work/env/bin
"$env/pip" wheel -q --no-deps -w "$work" .
wheel=$(ls "$work"/etalambda-*.whl)
cp benchmarks/release_check.py "$work" # away from the tree: nothing of it can be imported
cd "$work"
echo "== clean environment: $("$python" --version), torch $torch"
"$env/pip" install -q "torch==$torch"
"$env/pip" install -q "$wheel"
"$env/python" release_check.py core "$wheel" "$root" | tee core.json
echo "== with the lab"
"$env/pip" install -q "${wheel}[lab]"
"$env/python" release_check.py lab "$wheel" "$root" | tee lab.json
"$env/python" release_check.py together core.json lab.json > result.json
if [ "$out" != /dev/null ]; then
    case $out in /*) cp result.json "$out" ;; *) cp result.json "$root/$out" ;; esac
fi
echo "== $(basename "$wheel") is fit, in $SECONDS s"
