#!/usr/bin/env bash
# usage: make_venv.sh FOLDER ARGUMENT... makes a virtual environment beside this checkout and pip-installs the arguments
# into it; at once if that was done before and neither they nor setup.py have changed.
# Needs Python 3.11 and PyPI. DCCL_PYTHON names another interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$1
shift

python=${DCCL_PYTHON:-}
for candidate in python3.11 python3; do
  [ -n "$python" ] || ! "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || python=$candidate
done
if [ -z "$python" ]; then
  echo "error: Python 3.11 is needed (TensorFlow 2.21 beside tflite-runtime 2.14), and none was found on PATH; install python3.11, or set DCCL_PYTHON" >&2
  exit 1
fi
if [ ! -x "$folder/bin/python" ]; then
  if ! "$python" -m venv "$folder" 2>/dev/null; then
    # Debian ships venv's bootstrap apart; virtualenv from PyPI, or Debian's package, does the same.
    rm -rf "$folder"
    "$python" -m pip install --quiet --user --break-system-packages virtualenv 2>/dev/null \
      || { apt-get update -qq && apt-get install -y -qq python3.11-venv >/dev/null; }
    "$python" -m virtualenv --quiet "$folder" 2>/dev/null || "$python" -m venv "$folder"
  fi
fi
wanted=$({ cat setup.py; echo "$@"; } | sha256sum)
if [ "$(cat "$folder/installed" 2>/dev/null)" != "$wanted" ]; then
  echo "Installing into $folder ..."
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
  echo "$wanted" > "$folder/installed"
fi
