#!/usr/bin/env bash
# The device's tests where devices run: without TensorFlow, on tflite-runtime 2.14 with NumPy 1 and on the newest
# ai-edge-litert with NumPy 2. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/make_venv.sh .venv-tflite --editable '.[device]' pytest hypothesis
bash scripts/make_venv.sh .venv-litert --editable '.[litert]' pytest hypothesis
for folder in .venv-tflite .venv-litert; do
  "$folder/bin/python" - <<'PYTHON'
import importlib.metadata, importlib.util, numpy, device_runtime.interpreter.providers as providers
if importlib.util.find_spec("tensorflow"):
    raise SystemExit("error: expected an environment without TensorFlow, got one with it; delete the folder and try again")
runtime = providers.find_provider()
print(f"-- {runtime.name} {runtime.version}, NumPy {numpy.__version__}, no TensorFlow")
PYTHON
  "$folder/bin/python" -m pytest tests/device tests/faults "$@"
done
