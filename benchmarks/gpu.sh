#!/usr/bin/env bash
# What share of a GPU one worker process reaches, in at most 8 minutes and without a network.
#
# WHEELS is a folder of wheels that this Python lacks (python -m benchmarks.gpu.wheels fetches
# them); PYTHON runs it all. --quick runs on a CPU, as a check.
#
# Example: WHEELS=.whl benchmarks/gpu.sh --output "$OUT"
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
path=$PWD
if [[ -n ${WHEELS:-} ]]; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade \
    --target "$site" "$WHEELS"/*.whl
  path+=:$site
  export PATH=$site/bin:$PATH
fi
PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH} "$python" -m benchmarks.gpu "$@"
