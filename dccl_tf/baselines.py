"""The six models that Section 4.1.2 compares with, made, trained and judged in one way.

recipe = recipe_for("sasrec", "next", learning_rate=2e-3)    # the defaults of a model, some of them changed
baseline, history = learn(recipe, log, split, seed=0)        # all samples before validation, stopped by it
values = evaluators(recipe, log, split, seed=0)[1](baseline)   # metrics of the test interactions, user by user

All learn the same samples (a user's clicks, negatives drawn by seed, epoch, user and position) under the pointwise
cross-entropy of Eq. 4. SASRec and DIN see them packed, since positions of a row share its history; the others see
each by itself, in an order without users, as their authors do.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any, Unpack

import keras
import tensorflow as tf

from dccl_tf import run_config
from dccl_tf.arguments import did_you_mean
from dccl_tf.data.batches import best_positions
from dccl_tf.data.schema import InteractionLog, Span, Split
from dccl_tf.data.sequences import packed_rows
from dccl_tf.evaluate import Evaluator, validation
from dccl_tf.models import DeepFm, Din, DinConfig, Fm, Mf, NeuMf, SasRec
from dccl_tf.pretrain import data_loss
from dccl_tf.run_config import DIN_TRAINING, DcclConfig
from dccl_tf.trainer import FitOptions, History, TrainConfig, fit
from dccl_tf.training_data import TrainingData, candidates_of

MODELS: dict[str, type[keras.Model]] = {
    "mf": Mf,
    "fm": Fm,
    "neumf": NeuMf,
    "deepfm": DeepFm,
    "sasrec": SasRec,
    "din": Din,
}
SEQUENTIAL = ("sasrec", "din")  # they read the history
_SPELLED = {("din", "width"): "item_width"}  # a model's own name of a choice


@dataclass(frozen=True)
class Recipe:
    """How a baseline is made and trained, data and seed apart."""

    model: str  # a key of MODELS
    protocol: str = "next"  # or "liked"
    choices: dict[str, Any] = field(default_factory=dict)  # of the model, other than sizes, T and labels
    training: TrainConfig = field(default_factory=TrainConfig)
    history_length: int = 50  # T of the models that read it
    positions: int | None = None  # S; None: what costs least with a history, 1 without one
    batch_positions: int = 2048  # S times the rows of a batch
    negatives: int = 4  # for each click, protocol "next" alone
    user_ids: bool = False  # din: the profile also says who the user is

    def __post_init__(self) -> None:
        _known("model", self.model, MODELS)
        _known("protocol", self.protocol, ("next", "liked"))
        if self.user_ids and self.model != "din":
            raise ValueError(
                f"user_ids: expected False for {self.model}, which has no profile or always knows its users"
            )


def _of(learning_rate: float, weight_decay: float, **choices: Any) -> dict[str, Any]:
    return {"training": TrainConfig(learning_rate=learning_rate, weight_decay=weight_decay), "choices": choices}


# The best of twelve trials each (`tuning.search`, seed 0) by validation on MovieLens-1M: results/tuning-ml-1m.json.
_DIN = _of(3e-3, 0.3, width=128) | {"batch_positions": 1024}
_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "next": {
        "mf": _of(6e-3, 0.05),
        "fm": _of(6e-3, 0.05),
        "neumf": _of(3e-3, 0.3, width=128, dropout=0.2),
        "deepfm": _of(1e-2, 0.0, width=32, dropout=0.2),
        "sasrec": _of(5e-3, 0.01, width=128),
        "din": _DIN,
    },
    "liked": {
        "mf": _of(3e-3, 0.3, width=128, dropout=0.2),
        "fm": _of(3e-3, 0.3, width=128, dropout=0.5),
        "neumf": _of(1e-3, 0.1, width=128, dropout=0.3),
        "deepfm": _of(3e-3, 0.3, width=128, dropout=0.5),
        "sasrec": _of(2e-3, 0.01, dropout=0.1),
        "din": _DIN,
    },
}


def recipe_for(model: str, protocol: str = "next", **changes: Any) -> Recipe:
    """A model's defaults, with changes by name.

    Args:
      model: a key of MODELS.
      protocol: "next" or "liked".
      **changes: fields of `Recipe` or `TrainConfig`; every other name is a choice of the model, such as `width`.

    Raises:
      ValueError: an unknown model, protocol or value.
    """
    _known("model", model, MODELS)
    _known("protocol", protocol, _DEFAULTS)
    epochs = {"epochs": DIN_TRAINING[protocol].epochs}  # the same for all
    return changed(Recipe(model, protocol, **_DEFAULTS[protocol][model]), **epochs | changes)


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with changes by name, as `recipe_for` takes them."""
    own = {f.name for f in fields(Recipe)} - {"model", "protocol", "choices", "training"}
    training = {f.name for f in fields(TrainConfig)}
    return replace(
        recipe,
        training=replace(recipe.training, **{k: v for k, v in changes.items() if k in training}),
        choices=recipe.choices | {k: v for k, v in changes.items() if k not in own | training},
        **{k: v for k, v in changes.items() if k in own},
    )


def setting_of(recipe: Recipe, name: str) -> Any:
    """A recipe's value by a name that `changed` takes: of training, of the model, or that model's own default."""
    if hasattr(recipe.training, name):
        return getattr(recipe.training, name)
    own = _SPELLED.get((recipe.model, name), name)
    return recipe.choices.get(name, inspect.signature(_made_of(recipe.model)).parameters[own].default)


class Baseline:
    """A model and its name, as the evaluators take it."""

    def __init__(self, name: str, model: keras.Model) -> None:
        self.name, self.model = name, model

    @cached_property
    def logits(self) -> Callable[..., tf.Tensor]:
        """The model without dropout, compiled once a shape: for evaluation."""
        return tf.function(lambda inputs: self.model(inputs))


def build(name: str, log: InteractionLog, protocol: str = "next", **choices: Any) -> Baseline:
    """An untrained baseline whose sizes fit the log; set Keras's seed before.

    Args:
      name: a key of MODELS.
      log: for the numbers of users and items, profiles and categories.
      protocol: under "liked" the models that read the history read its labels too.
      **choices: of the model; "width" is the width of its vectors, whatever the model calls it.

    Raises:
      ValueError: an unknown name, or a choice that the model does not have or does not accept.
    """
    _known("name", name, MODELS)
    choices = {_SPELLED.get((name, choice), choice): value for choice, value in choices.items()}
    if name in SEQUENTIAL:
        choices = {"history_labels": protocol == "liked"} | choices
    names = [choice for choice in inspect.signature(_made_of(name)).parameters if choice not in ("sizes", "kwargs")]
    for choice in choices:
        _known(f"choices of {name}", choice, names)
    return Baseline(name, MODELS[name].for_data(log.catalogue, log.users, **choices))


def train(baseline: Baseline, data: TrainingData, config: TrainConfig, **options: Unpack[FitOptions]) -> History:
    """Trains a baseline in place by pointwise cross-entropy, Eq. 4 (options as in `trainer.fit`)."""
    model = baseline.model
    variables = model.trainable_variables
    return fit(model, variables, data_loss(model), data, config, steps=data.steps, **{"name": baseline.name} | options)


def training_data(recipe: Recipe, log: InteractionLog, span: Span, seed: int) -> TrainingData:
    """The samples of a span as the recipe packs them."""
    # A history that nobody reads costs least, and single samples come in the most mixed order.
    history_length = recipe.history_length if recipe.model in SEQUENTIAL else 1
    positions = recipe.positions or cheapest_positions(recipe, span)
    return TrainingData(
        log,
        span,
        recipe.protocol,
        history_length,
        positions=positions,
        batch_rows=max(1, recipe.batch_positions // positions),
        negatives=recipe.negatives,
        seed=seed,
    )


def cheapest_positions(recipe: Recipe, span: Span) -> int:
    """S, a power of two from 1 to 64, at which an epoch costs least; a batch has as many samples whatever S is."""
    if recipe.model == "din":
        return best_positions(span, recipe.history_length, candidates_of(recipe.protocol, recipe.negatives))
    if recipe.model not in SEQUENTIAL:
        return 1

    def cost(positions: int) -> int:
        """Of SASRec: one for each place of a row, two for the candidates of each position (measured, T = 50)."""
        return int(packed_rows(span, positions).sum()) * (recipe.history_length + positions - 1 + 2 * positions)

    return min((2**power for power in range(7)), key=cost)


def evaluators(recipe: Recipe, log: InteractionLog, split: Split, seed: int) -> tuple[Evaluator, Evaluator]:
    """The judges of validation and of test: the same users, items and negatives for every model of a seed, and those of
    a run of `rounds` with this seed."""
    log = _seen_by(recipe, log)
    config = DcclConfig(protocol=recipe.protocol, history_length=recipe.history_length, seed=seed)
    return run_config.evaluators(log, split, config)


def learn(
    recipe: Recipe,
    log: InteractionLog,
    split: Split,
    seed: int,
    valid: Evaluator | None = None,
    **options: Unpack[FitOptions],
) -> tuple[Baseline, History]:
    """Makes a baseline and trains it on everything before validation, which alone chooses the epoch.

    Args:
      recipe: of the model.
      log: all interactions.
      split: of the log.
      seed: of weights, order, negatives and dropout.
      valid: the judge of validation, where the caller has it already.
      **options: as in `trainer.fit`.
    """
    judge = valid or evaluators(recipe, log, split, seed)[0]
    log = _seen_by(recipe, log)
    keras.utils.set_random_seed(seed)
    sequential = {"history_length": recipe.history_length} if recipe.model in SEQUENTIAL else {}
    baseline = build(recipe.model, log, recipe.protocol, **sequential | recipe.choices)
    data = training_data(recipe, log, run_config.joined(split, "all"), seed)
    history = train(baseline, data, recipe.training, **{"validate": partial(validation, judge, baseline)} | options)
    return baseline, history


def _seen_by(recipe: Recipe, log: InteractionLog) -> InteractionLog:
    """The log as the recipe's model sees it."""
    return replace(log, users=log.users.with_ids()) if recipe.user_ids else log


def _made_of(model: str) -> Callable[..., Any]:
    """What takes a model's choices."""
    return DinConfig if model == "din" else MODELS[model]


def _known(argument: str, value: str, names: Iterable[str]) -> None:
    if value not in names:
        hint = did_you_mean(value, names)
        raise ValueError(f"{argument}: expected one of {', '.join(names)}, got {value!r}{hint}")
