"""The settings of a study's jobs: the defaults of `DcclConfig`, what a cell changes, and what `--quick` shortens."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from dccl_tf import baselines
from dccl_tf.run_config import DcclConfig
from dccl_tf.study.cells import Cell, Changes

Config = TypeVar("Config")

# Minutes instead of hours: to see that everything works, not to learn anything from the figures.
_QUICK_SIZES: Changes = (("history_length", 20), ("item_width", 32))
_QUICK_TRAINING: Changes = (
    ("pretraining.epochs", 3),
    ("incremental.epochs", 2),
    ("basis.epochs", 1),
    ("fleet.epochs", 2),
)
# The prior of vectors on devices in the tables, under both protocols: a run's default when they were computed.
_PULL_OF_TABLES = 320.0
# What a run has without flags, instead of the width, training and prior of the tables: a model for phones.
RUN_DEFAULTS: Changes = (
    ("item_width", DcclConfig.item_width),
    *((name, None) for name in ("pretraining", "closing", "fleet")),
)
_QUICK_BASELINE = {"history_length": 20, "width": 32, "epochs": 3}


def changed(config: Config, changes: Iterable[tuple[str, Any]]) -> Config:
    """A copy of a dataclass with other values, some of them in dataclasses that it holds.

    Args:
      config: what to change.
      changes: dotted names, such as "fleet.learning_rate", and values.

    Raises:
      ValueError: there is no such setting, or the value is none that it may have.
    """
    for name, value in changes:
        first, _, rest = name.partition(".")
        known = [one.name for one in fields(config)]
        if first not in known or (rest and not is_dataclass(getattr(config, first))):
            raise ValueError(f"changes: expected a setting out of {', '.join(known)}, got {name!r}")
        if rest:
            value = changed(getattr(config, first), [(rest, value)])
        config = replace(config, **{first: value})
    return config


def dccl_config(protocol: str, seed: int, changes: Changes = (), quick: bool = False) -> DcclConfig:
    """The configuration of a cell: f has the sizes and the training of the tables' DIN. No device runs for real: the
    fleet is the same to 1e-5, and faster."""
    din = baselines.recipe_for("din", protocol)
    config = DcclConfig(
        protocol=protocol, seed=seed, devices=0, item_width=din.choices["width"], pretraining=din.training
    )
    config = changed(config, [("fleet.pull", _PULL_OF_TABLES)])
    if quick:
        changes = (*_QUICK_SIZES, *changes, *_QUICK_TRAINING)
    return changed(config, changes)


def baseline_recipe(cell: Cell, quick: bool = False) -> baselines.Recipe:
    """How a cell's baseline is made and trained."""
    changes = (_QUICK_BASELINE if quick else {}) | dict(cell.changes)
    return baselines.recipe_for(cell.job, cell.protocol, **changes)


def largest(cells: Iterable[Cell], quick: bool = False) -> tuple[int, int]:
    """The widest item vectors and the most clicks of a batch that these cells train with."""
    sizes = [(0, 0)]
    for cell in cells:
        if cell.job in baselines.MODELS:
            recipe = baseline_recipe(cell, quick)
            sizes.append((baselines.setting_of(recipe, "width"), recipe.batch_positions))
        else:
            config = dccl_config(cell.protocol, cell.seed, cell.changes, quick)
            sizes.append((config.item_width, config.batch_positions))
    widths, positions = zip(*sizes, strict=True)
    return max(widths), max(positions)
