#!/usr/bin/env bash
# Sets up .venv, then runs every test. Arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/setup_venv.sh"
exec .venv/bin/python -m pytest "$@"
