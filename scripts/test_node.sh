#!/usr/bin/env bash
# Golden calls and 50 training steps in WebAssembly, by LiteRT.js under Node; skipped, with the reason, where Node, npm or
# the package cannot be had. Arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/setup_venv.sh"
folder=tests/portability/wasm
if ! command -v node > /dev/null || ! command -v npm > /dev/null; then
  echo "-- WebAssembly: skipped, since there is no node and npm on PATH (20 or newer)"
  exit 0
fi
if [ "$(cat "$folder/node_modules/installed" 2>/dev/null)" != "$(sha256sum < "$folder/package-lock.json")" ]; then
  if ! npm ci --prefix "$folder" --silent --no-audit --no-fund; then
    echo "-- WebAssembly: skipped, since npm could not install @litertjs/core (see above)"
    exit 0
  fi
  sha256sum < "$folder/package-lock.json" > "$folder/node_modules/installed"
fi
echo "-- WebAssembly, by LiteRT.js under Node $(node --version)"
DCCL_NODE=$(command -v node) .venv/bin/python -m pytest tests/portability/test_wasm.py "$@"
