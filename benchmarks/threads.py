"""What it brings to keep each operation of TensorFlow on one core (`dccl_tf/threads.py`), by size of the model.

  python benchmarks/threads.py --dataset=ml-1m --data_dir=ml-1m.zip --output=results/threads.json

Steps of plain training (Eq. 4) and of learning beside vectors, batches drawn as in a run. Each way has processes of its
own, which take turns; the best turn counts, since other work on the machine can only slow one down.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from absl import app, flags

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from scripts import flags_data, programs

_WIDTHS = flags.DEFINE_multi_integer("item_width", [32, 64, 128], "D; may be given several times.")
_SECONDS = flags.DEFINE_float("seconds", 6.0, "Of a turn.", lower_bound=0.1)
_TURNS = flags.DEFINE_integer("turns", 2, "Of each way.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the figures.")
_STEPS = flags.DEFINE_string("steps", None, "Of the benchmark's own processes: protocol,way,width.")

WARM = 40  # steps before the clock starts


def main(argv: list[str]) -> None:
    """Prints a table; or, as one of its own processes, clicks a second."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags alone, got {argv[1]!r}")
    if _STEPS.value:
        protocol, way, width = _STEPS.value.split(",")
        print(clicks_a_second(protocol, way, int(width)))
        return
    rows = []
    print(f"{'':30}{'all cores':>12}{'one core':>12}   clicks a second")
    for protocol in ("liked", "next"):
        for way in ("plain", "joint"):
            for width in _WIDTHS.value:
                turns = [(turn(protocol, way, width, ""), turn(protocol, way, width, "1")) for _ in range(_TURNS.value)]
                split, alone = map(max, zip(*turns, strict=True))
                rows.append({"protocol": protocol, "way": way, "width": width, "all": split, "one": alone})
                print(
                    f"{protocol:6} {way:6} width {width:<10}{split:12,.0f}{alone:12,.0f}   {alone / split:.2f}",
                    flush=True,
                )
    if _OUTPUT.value:
        found = programs.provenance("benchmarks/threads.py") | {"cores": os.cpu_count(), "clicks_a_second": rows}
        Path(_OUTPUT.value).write_text(json.dumps(found, indent=1) + "\n")


def turn(protocol: str, way: str, width: int, threads: str) -> float:
    """One process's clicks a second, each operation on `threads` cores, "" for all of them."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_NUM_INTRAOP_THREADS"}
    environment |= {"TF_NUM_INTRAOP_THREADS": threads} if threads else {}
    command = [sys.executable, __file__, f"--steps={protocol},{way},{width}", *sys.argv[1:]]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def clicks_a_second(protocol: str, way: str, width: int) -> float:
    """Of the first half of the log, in a run's default sizes but for the width."""
    from dccl_tf.adam import FusedAdam
    from dccl_tf.pretrain import data_loss
    from dccl_tf.rehearsal import Rehearsal, joint_loss
    from dccl_tf.run_config import DcclConfig, split_log, training_data
    from dccl_tf.trainer import make_train_step

    log, _ = flags_data.load_log(flags.FLAGS)
    config = DcclConfig(protocol=protocol, item_width=width)
    data = training_data(log, config, split_log(log, config).pretrain, config.seed)
    model = Rehearsal.untrained(log, config)
    variables, loss = model.cloud.din.trainable_variables, data_loss(model.cloud)
    if way == "joint":
        variables = model.learned
        loss = joint_loss(model, None, 0.0, config.shared, config.offset_pull / data.samples_of_users())
    optimizer = FusedAdam(config.pretraining.learning_rate, weight_decay=config.pretraining.weight_decay)
    optimizer.build(variables)
    step = make_train_step(optimizer, variables, loss)
    began = time.perf_counter()
    for number, batch in enumerate(data(0), start=1 - WARM):
        total, _ = step(batch)
        if number == 0:
            began = time.perf_counter()
        if number > 0 and time.perf_counter() - began > _SECONDS.value:
            break
    float(total)  # waits for the last one
    return number * config.batch_positions / (time.perf_counter() - began)


if __name__ == "__main__":
    app.run(main)
