"""Makes what the Android demo app is shipped with: a bundle, titles and people, all from the synthetic data set.

  python scripts/android_demo_model.py                  writes android_demo/app/src/main/assets

`bundle.zip` is a certified bundle of a small DIN that was rehearsed on the first half of 1,500 made-up users' logs.
`demo.json` names its items and a few of these users: who they are, their past (the half that the model has seen) and
what they go on to choose, so that the app can play a person's next choices and nobody has to tap fifty times.
Nothing in it comes from a data set with a licence. Takes about a minute on 2 cores.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from scripts import programs

if TYPE_CHECKING:
    from dccl_tf.data.schema import InteractionLog, Split

ASSETS = Path(__file__).parents[1] / "android_demo" / "app" / "src" / "main" / "assets"
NAMES = ("Ada", "Bao", "Carmen", "Dawit", "Elif", "Farid")
_OUTPUT = flags.DEFINE_string("assets", str(ASSETS), "Folder to write bundle.zip and demo.json into.")


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("android_demo_model", argv, _run)


def _run() -> None:
    import keras

    from dccl_tf import run_config
    from dccl_tf.data.synthetic import synthetic_log
    from dccl_tf.evaluate import validation
    from dccl_tf.fleet import FleetConfig
    from dccl_tf.rehearsal import Rehearsal, learn_jointly
    from export import Sizes, export_bundle

    log, _ = synthetic_log(seed=7, users=1500, items=400, mean_length=60.0, shortest=20, longest=160)
    config = run_config.DcclConfig(
        protocol="liked", metapatch_length=16, bottlenecks=(8, 8, 8), history_length=20, item_width=16,
        hidden=(32, 16, 16), closing_beta=0.0,
        fleet=FleetConfig(pull=20.0, learning_rate=0.02, gate_margin=0.0),  # few taps show, and must win to count
    )  # fmt: skip
    split = run_config.split_log(log, config)
    judge = run_config.evaluators(log, split, config)[0]
    keras.utils.set_random_seed(config.seed)
    model = Rehearsal.untrained(log, config)
    learn_jointly(model, log, config, run_config.joined(split, "pretrain"), judge)
    assets = Path(_OUTPUT.value)
    assets.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "bundle.zip")
        bundle = export_bundle(
            model.cloud, made, catalogue=log.catalogue, users=log.users, protocol="liked", training=config.training(),
            sizes=Sizes(candidates=100, train_batch=16),
        )  # fmt: skip
        (assets / "bundle.zip").write_bytes(made.read_bytes())
    (assets / "demo.json").write_text(json.dumps(demo(log, split), separators=(",", ":")))
    print(f"bundle {bundle.identity.hex()[:16]}, {(assets / 'bundle.zip').stat().st_size:,} bytes zipped")
    print(f"validation {judge.selection_metric} of the cloud model {validation(judge, model.cloud):.4f}")


def demo(log: "InteractionLog", split: "Split") -> dict[str, Any]:
    """Titles and people, as the app reads them (android_demo/app, DemoData.kt)."""
    catalogue, fields = log.catalogue, log.users.fields
    kinds = [catalogue.category_names[kind - 1] for kind in catalogue.categories[1:-1, 0]]
    items = [
        {"id": int(id_), "title": title, "kind": kind}
        for id_, title, kind in zip(catalogue.ids, catalogue.titles, kinds, strict=True)
    ]
    chosen = np.argsort(-log.lengths, kind="stable")[: len(NAMES)]  # those with most to play
    return {
        "items": items,
        "people": [_person(log, split, name, int(user), fields) for name, user in zip(NAMES, chosen, strict=True)],
    }


def _person(log: "InteractionLog", split: "Split", name: str, user: int, fields: tuple) -> dict[str, Any]:
    begin, end = log.offsets[user], log.offsets[user + 1]
    half = begin + split.pretrain.stop[user]

    def choices(first: int, last: int) -> list[list[int]]:
        ids = log.catalogue.ids[log.items[first:last] - 1]
        return [[int(item), int(label)] for item, label in zip(ids, log.labels[first:last], strict=True)]

    profile = {
        field.name: field.values[index - 1]
        for field, index in zip(fields, log.users.profile[user], strict=True)
        if index
    }
    return {"name": name, "profile": profile, "past": choices(begin, half), "future": choices(half, end)}


if __name__ == "__main__":
    programs.start(main, __name__)
