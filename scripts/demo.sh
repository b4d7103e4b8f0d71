#!/usr/bin/env bash
# Sets up .venv, then runs the whole loop on MovieLens-100K. Flags of scripts/run_dccl.py may follow.
set -euo pipefail
source "$(dirname "$0")/setup_venv.sh"
exec .venv/bin/python scripts/run_dccl.py "$@"
