"""Checks DIN against DeepCTR 0.9.4's (TensorFlow): same weights, same inputs, same logits.

  python benchmarks/against_deepctr.py --deepctr_python=../venv-deepctr/bin/python

DeepCTR wants its own environment: pip install deepctr==0.9.4 tensorflow==2.15.* "numpy<2" setuptools.
Random weights are laid out as DeepCTR orders them, its own DIN scores the same samples; the largest difference of a
logit is printed and must stay below --tolerance. DIN here scores with `attention="activation_unit"`, the form that the
two share (the default, "dot", is ours). What DeepCTR lacks is set to nothing: the product of interest and candidate
that the first layer sees here. What it fixes is chosen: one category an item, sigmoid in the activation unit.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts import programs  # noqa: F401, I001 (sets TensorFlow's environment)

import keras
import numpy as np
from absl import app, flags

from dccl_tf.data.schema import Catalogue, ProfileField, Users
from dccl_tf.models import Din

_PYTHON = flags.DEFINE_string("deepctr_python", None, "Python of an environment that has DeepCTR 0.9.4.")
_SEED = flags.DEFINE_integer("seed", 0, "Of weights and samples.")
_TOLERANCE = flags.DEFINE_float("tolerance", 1e-5, "Of a logit, absolute.")

SAMPLES, T, V, G = 512, 50, 200, 7
WIDTH, CATEGORY_WIDTH, PROFILE_WIDTH, HIDDEN = 16, 8, 8, (24, 12, 6)
USERS = Users(
    np.arange(1),
    np.zeros((1, 2), np.int32),
    (ProfileField("age", ("18", "25", "35")), ProfileField("job", ("clerk", "baker", "miner", "poet"))),
)


def main(argv: list[str]) -> None:
    del argv
    if not _PYTHON.value or not Path(_PYTHON.value).exists():
        sys.exit(f"deepctr_python: expected the Python of an environment with DeepCTR, got {_PYTHON.value}; see --help")
    keras.utils.set_random_seed(_SEED.value)
    random = np.random.default_rng(_SEED.value)
    categories = np.zeros((V + 2, 1), np.int32)
    categories[1 : V + 1, 0] = random.integers(1, G + 1, V)
    model = Din.for_data(
        Catalogue(np.arange(V), categories, tuple("abcdefg")),
        USERS,
        history_length=T,
        item_width=WIDTH,
        category_width=CATEGORY_WIDTH,
        profile_width=PROFILE_WIDTH,
        hidden=HIDDEN,
        attention="activation_unit",
    )
    for variable in model.trainable_variables:
        variable.assign(random.normal(scale=0.3, size=variable.shape))
    width = WIDTH + CATEGORY_WIDTH
    kernel = model.pair_layer.kernel.numpy()
    kernel[2 * width :] = 0.0
    model.pair_layer.kernel.assign(kernel)

    history = np.zeros((SAMPLES, T), np.int32)
    for row, length in zip(history, random.integers(1, T + 1, SAMPLES), strict=True):
        row[-length:] = random.integers(1, V + 1, length)
    items = random.integers(1, V + 1, SAMPLES).astype(np.int32)
    profile = np.stack([random.integers(0, field.size, SAMPLES) for field in USERS.fields], axis=1).astype(np.int32)
    ours = model({"history": history, "candidates": items[:, None], "profile": profile}).numpy()[:, 0]

    first = [model.profile_layer.kernel.numpy(), kernel[width : 2 * width], kernel[:width]]  # user, candidate, interest
    dense = [*model.attention.unit.network, *model.layers_above, model.logit]
    inputs = {"hist_item": history, "hist_class": categories[history, 0], "item": items, "class": categories[items, 0]}
    inputs |= {"age": profile[:, 0], "job": profile[:, 1]}
    tables = {"item": model.items.ids, "class": model.items.names}
    fields = np.split(model.profile.values.numpy(), np.cumsum([field.size for field in USERS.fields])[:-1])
    tables |= {"age": fields[0], "job": fields[1]}
    theirs = _score(
        {f"input/{name}": value for name, value in inputs.items()}
        | {f"table/{name}": np.asarray(value) for name, value in tables.items()}
        | {"first/kernel": np.concatenate(first), "first/bias": model.pair_layer.bias.numpy()}
        | {f"dense{place}/kernel": layer.kernel.numpy() for place, layer in enumerate(dense)}
        | {f"dense{place}/bias": layer.bias.numpy() for place, layer in enumerate(dense)}
        | {"hidden": np.array(HIDDEN)}
    )
    difference = float(np.abs(ours - theirs).max())
    print(f"DIN: {SAMPLES} samples, deviation of logits {ours.std():.3f}, largest difference {difference:.1e}")
    if not difference < _TOLERANCE.value:
        sys.exit(f"differs from DeepCTR by {_TOLERANCE.value} or more")


def _score(case: dict[str, np.ndarray]) -> np.ndarray:
    """DeepCTR's logits, from a process of its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "case.npz"), Path(folder, "logits.npy")
        np.savez(given, **case)
        command = [_PYTHON.value, str(Path(__file__).with_name("deepctr_side.py")), str(given), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"DeepCTR's side failed:\n{done.stderr[-2000:]}")
        return np.load(answer)


if __name__ == "__main__":
    app.run(main)
