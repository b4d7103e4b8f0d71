#!/usr/bin/env bash
# Makes .venv with the package and all that its job and its tests need (make_venv.sh). Sourced by demo.sh and test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/make_venv.sh .venv --editable '.[cloud,device,service,privacy,dev]'
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2} TF_ENABLE_ONEDNN_OPTS=${TF_ENABLE_ONEDNN_OPTS:-1}
