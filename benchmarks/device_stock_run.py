"""Runs what benchmarks/device_stock.py converted, and prints its times, memory and bytes as JSON.

    PYTHON benchmarks/device_stock_run.py FOLDER REPEATS

It needs the Flex delegate, which the small wheels never had and TensorFlow's own wheel lost with 2.20 (LiteRT#6458), so
PYTHON is that of an environment with `pip install tensorflow-cpu==2.18.1` and nothing else.
"""

import json
import re
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

ITEMS = 68_000  # V of device_model.py


def megabytes(field: str) -> float:
    """Of a field of /proc/self/status."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+)", status, re.MULTILINE).group(1)) / 1000


def main(folder: Path, repeats: int) -> dict[str, float]:
    """Processor time of the whole process, since Flex brings threads of its own."""
    imported = megabytes("VmRSS")
    interpreter = tf.lite.Interpreter(model_path=str(folder / "stock.tflite"), num_threads=1)
    runners = {name: interpreter.get_signature_runner(name) for name in ("train", "infer", "save")}
    rng, times = np.random.default_rng(0), {}

    def values(name: str) -> dict[str, np.ndarray]:
        """Random ids, labels of 1 and a small learning rate; everything else 0."""
        constants, result = {"labels": 1.0, "learning_rate": 0.01}, {}
        for key, detail in runners[name].get_input_details().items():
            if key in ("history", "candidates"):
                result[key] = rng.integers(1, ITEMS, detail["shape"], np.int32)
            else:
                result[key] = np.full(detail["shape"], constants.get(key, 0), detail["dtype"])
        return result

    for name in ("train", "infer"):
        inputs, seconds, answers = values(name), [], []
        for _ in range(repeats + 10):
            began = time.process_time()
            answers.append(runners[name](**inputs))
            seconds.append(time.process_time() - began)
        times[name] = 1e3 * statistics.median(seconds[10:])
        if name == "train" and not answers[-1]["loss"][0] < answers[0]["loss"][0]:
            raise RuntimeError("the stock recipe does not train")
    runners["save"](path=np.array([str(folder / "weights")]))
    state = sum(file.stat().st_size for file in folder.glob("weights*"))
    return {
        "tensorflow": tf.__version__,
        "train_ms": times["train"],
        "infer_ms": times["infer"],
        "state_bytes": state,
        "upload_bytes": state,  # all weights go up, as in federated averaging
        "model_bytes": (folder / "stock.tflite").stat().st_size,
        "imported_mb": imported,
        "peak_mb": megabytes("VmHWM"),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
