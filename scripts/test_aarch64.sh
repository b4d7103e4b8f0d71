#!/usr/bin/env bash
# Golden calls and 50 training steps on aarch64, under qemu, on both runtimes; skipped, with the reason, where the
# packages for that cannot be had. Arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/setup_venv.sh"
if ! DCCL_PYTHON=.venv/bin/python bash scripts/setup_aarch64.sh .aarch64; then
  echo "-- aarch64: skipped, since setup_aarch64.sh could not make its environment (see above)"
  exit 0
fi
echo "-- aarch64, under qemu"
DCCL_AARCH64=$PWD/.aarch64 .venv/bin/python -m pytest tests/portability/test_aarch64.py "$@"
