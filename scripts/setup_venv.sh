#!/usr/bin/env bash
# Makes .venv beside this checkout and installs the package with all that its job and its tests need.
# Needs Python 3.11 and PyPI. DCCL_PYTHON names another interpreter. Sourced by demo.sh and test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${DCCL_PYTHON:-}
for candidate in python3.11 python3; do
  [ -n "$python" ] || ! "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || python=$candidate
done
if [ -z "$python" ]; then
  echo "error: Python 3.11 is needed (TensorFlow 2.21 beside tflite-runtime 2.14), and none was found on PATH; install python3.11, or set DCCL_PYTHON" >&2
  exit 1
fi
if [ ! -x .venv/bin/python ]; then
  if ! "$python" -m venv .venv 2>/dev/null; then
    # Debian ships venv's bootstrap apart; virtualenv from PyPI, or Debian's package, does the same.
    rm -rf .venv
    "$python" -m pip install --quiet --user --break-system-packages virtualenv 2>/dev/null \
      || { apt-get update -qq && apt-get install -y -qq python3.11-venv >/dev/null; }
    "$python" -m virtualenv --quiet .venv 2>/dev/null || "$python" -m venv .venv
  fi
fi
wanted=$(cat setup.py | sha256sum)
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
  echo "Installing into .venv (a minute or two) ..."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[cloud,device,dev]'
  echo "$wanted" > .venv/installed
fi
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2} TF_ENABLE_ONEDNN_OPTS=${TF_ENABLE_ONEDNN_OPTS:-1}
