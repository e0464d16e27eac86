#!/usr/bin/env bash
# An environment with the loaders that benchmarks/data compares with, apart from the project's own.
#
#     benchmarks/data/rivals.sh FOLDER        then: FOLDER/bin/python benchmarks/data/pairs.py ...
#
# FOLDER sees the project and the packages of its .venv (torch, NumPy, Pillow: the same versions for all) through a
# .pth file; what the rivals want on top goes into FOLDER alone. Made once; run again it only checks.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: benchmarks/data/rivals.sh FOLDER" >&2; exit 2; }
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")/../.." && pwd)
folder=$1
own="$here/.venv/bin/python"
[ -x "$own" ] || { echo "rivals.sh: no $own: run \`make setup\` first" >&2; exit 2; }
case $(realpath -m "$folder") in
    "$here"|"$here"/*) echo "rivals.sh: choose a folder outside of the checkout" >&2; exit 2 ;;
esac

[ -x "$folder/bin/python" ] || "$own" -m venv "$folder"
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$own" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$site/project.pth"
echo "$here" >> "$site/project.pth"

# torch first and pinned: any other way pulls the CUDA build.
pinned="$folder/pinned.txt"
"$own" -m pip freeze --disable-pip-version-check --exclude-editable \
    | grep -iE '^(torch|numpy|pillow|sentencepiece|pyarrow)==' | sed 's/+cpu$//' > "$pinned"
pip() { "$folder/bin/python" -m pip install -q --disable-pip-version-check -c "$pinned" "$@"; }
pip "$(grep -i '^torch==' "$pinned")"
for package in webdataset==1.0.2 megatron-energon==7.4.1 grain==0.2.18 datasets==5.2.0 torchdata==0.11.0; do
    pip "$package" || echo "rivals.sh: $package does not install here; its rows will say so" >&2
done
"$folder/bin/python" - <<'PYTHON'
from importlib.metadata import PackageNotFoundError, version
for name in ("torch", "numpy", "pillow", "webdataset", "megatron-energon", "grain", "datasets", "torchdata"):
    try:
        print(name, version(name))
    except PackageNotFoundError:
        print(name, "missing")
PYTHON
