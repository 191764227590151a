#!/usr/bin/env bash
# Is the wheel fit to be released? Builds it, installs it with torch alone into a new environment
# and runs the README's quickstart and the command line there: benchmarks/release_check.sh [OUT.json]
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
"$work/env/bin/pip" wheel -q --no-deps -w "$work" .
wheel=$(ls "$work"/etalambda-*.whl)
echo "== clean environment: $("$python" --version), torch $torch"
"$work/env/bin/pip" install -q "torch==$torch"
"$work/env/bin/pip" install -q "$wheel"
cd "$work"
"$work/env/bin/python" "$root/benchmarks/release_check.py" "$wheel" "$root/README.md" | tee result.json
if [ "$out" != /dev/null ]; then
    case $out in /*) cp result.json "$out" ;; *) cp result.json "$root/$out" ;; esac
fi
