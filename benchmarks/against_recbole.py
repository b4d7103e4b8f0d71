"""Checks MF, FM, NeuMF, DeepFM and SASRec against RecBole 1.2.1 (PyTorch): same weights, same inputs, same logits.

  python benchmarks/against_recbole.py --recbole_python=../venv-recbole/bin/python

RecBole wants its own environment: pip install recbole==1.2.1 torch "numpy<2" "scipy<1.14" "setuptools<81".
Random weights are laid out as RecBole names them, its own classes load them strictly and score the same samples; the
largest difference of a logit is printed and must stay below --tolerance. What the two do not share is set to nothing:
biases in MF (RecBole's is BPR's); the categories' weights of first order, which RecBole sums over an item's categories
where it, as we do, takes the mean of their vectors; distances in SASRec's attention and RecBole's place embeddings.
SASRec here sees bands of items, RecBole all: histories are as long as the narrowest band.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts import programs  # noqa: F401, I001 (sets TensorFlow's environment)

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from dccl_tf.data.schema import Catalogue, ProfileField, Users
from dccl_tf.models import DeepFm, Fm, Mf, NeuMf, SasRec
from dccl_tf.models.recommender import Recommender

_PYTHON = flags.DEFINE_string("recbole_python", None, "Python of an environment that has RecBole 1.2.1.")
_SEED = flags.DEFINE_integer("seed", 0, "Of weights and samples.")
_TOLERANCE = flags.DEFINE_float("tolerance", 1e-5, "Of a logit, absolute.")

SAMPLES, U, V, G, D = 512, 50, 200, 7, 16
USERS = Users(
    np.arange(U),
    np.zeros((U, 2), np.int32),
    (ProfileField("age", ("18", "25", "35")), ProfileField("job", ("clerk", "baker", "miner", "poet"))),
)
HIDDEN = (24, 12)
Weights = dict[str, np.ndarray]


def main(argv: list[str]) -> None:
    del argv
    if not _PYTHON.value or not Path(_PYTHON.value).exists():
        sys.exit(f"recbole_python: expected the Python of an environment with RecBole, got {_PYTHON.value}; see --help")
    random = np.random.default_rng(_SEED.value)
    cases = {
        "MF": _case(Mf, _mf, random, width=D),
        "FM": _case(Fm, _fm, random, width=D),
        "NeuMF": _case(NeuMf, _neumf, random, width=D, hidden=HIDDEN),
        "DeepFM": _case(DeepFm, _deepfm, random, width=D, hidden=HIDDEN),
        "SASRec, 1 block": _case(SasRec, _sasrec, random, length=50, width=D, blocks=1, **_AS_RECBOLE),
        "SASRec, 2 blocks": _case(SasRec, _sasrec, random, length=12, width=D, blocks=2, **_AS_RECBOLE),
    }
    print(f"{'model':18}{'samples':>9}{'deviation of logits':>21}{'largest difference':>20}")
    failed = []
    for name, (ours, their_case) in cases.items():
        theirs = _score(their_case)
        difference = float(np.abs(ours - theirs).max())
        print(f"{name:18}{len(ours):9}{ours.std():21.3f}{difference:20.1e}")
        if not difference < _TOLERANCE.value:
            failed.append(name)
    if failed:
        sys.exit(f"differs from RecBole by {_TOLERANCE.value} or more: {', '.join(failed)}")


_AS_RECBOLE = {"history_length": 50, "heads": 2, "inner": 24, "local": 12, "norm_first": False, "activation": "gelu"}


def _case(kind: type[Recommender], translate: Any, random: np.random.Generator, length: int = 1, **choices: Any) -> Any:
    """Our logits [SAMPLES] of a random model, and the same for RecBole: a class, its settings, weights and inputs."""
    keras.utils.set_random_seed(_SEED.value)
    categories = np.zeros((V + 2, 3), np.int32)
    categories[1 : V + 1, 0] = random.integers(0, G + 1, V)  # some items have no category
    categories[1 : V + 1, 1] = np.where(categories[1 : V + 1, 0] > 0, random.integers(0, G + 1, V), 0)
    catalogue = Catalogue(np.arange(V), categories, tuple("abcdefg"))
    model = kind.for_data(catalogue, USERS, **choices)
    for variable in model.trainable_variables:
        variable.assign(random.normal(scale=0.3, size=variable.shape))
    own = [layer for layer in (model, *getattr(model, "blocks", ())) if hasattr(layer, "recency")]
    for layer in own:
        layer.recency.assign(tf.zeros_like(layer.recency))
    if kind is SasRec:
        model.item_bias.ids.assign(tf.zeros_like(model.item_bias.ids))
    if kind is Mf:  # the last column of a row is its bias
        for table in (model.user_fields.ids, model.item_fields.ids):
            table.assign(table * tf.constant([1.0] * D + [0.0]))
        model.bias.assign(0.0)
    if kind in (Fm, DeepFm):
        names = model.item_fields.names
        names.assign(names * tf.constant([1.0] * D + [0.0]))
    lengths = random.integers(1, length + 1, SAMPLES)
    history = np.zeros((SAMPLES, choices.get("history_length", 1)), np.int32)
    for row, items in zip(history, lengths, strict=True):
        row[-items:] = random.integers(1, V + 1, items)
    users, items = random.integers(0, U, SAMPLES), random.integers(1, V + 1, SAMPLES)
    profile = np.stack([random.integers(0, field.size, SAMPLES) for field in USERS.fields], axis=1)
    ours = model(
        {
            "history": tf.constant(history),
            "candidates": tf.constant(items[:, None], tf.int32),
            "profile": tf.constant(profile, tf.int32),
            "users": tf.constant(users, tf.int32),
        }
    )
    newest_last_left = np.stack([np.roll(row, count) for row, count in zip(history, lengths, strict=True)])
    inputs = {
        "user_id": users,
        "item_id": items,
        "age": profile[:, 0],
        "job": profile[:, 1],
        "class": categories[items],
        "item_id_list": newest_last_left,
        "item_length": lengths,
    }
    where, config, weights = translate(model)
    return ours.numpy()[:, 0], (where, config, weights, inputs)


def _score(case: tuple[str, dict[str, Any], Weights, Weights]) -> np.ndarray:
    """RecBole's logits of a case, from a process of its own environment."""
    where, config, weights, inputs = case
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "case.npz"), Path(folder, "logits.npy")
        words = np.array(json.dumps({"class": where, "config": config}))
        arrays = {f"weight/{k}": v for k, v in weights.items()} | {f"input/{k}": v for k, v in inputs.items()}
        np.savez(given, words=words, **arrays)
        command = [_PYTHON.value, str(Path(__file__).with_name("recbole_side.py")), str(given), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"RecBole's side failed:\n{done.stderr[-2000:]}")
        return np.load(answer)


def _mf(model: Mf) -> tuple[str, dict[str, Any], Weights]:
    weights = {
        "user_embedding.weight": model.user_fields.ids.numpy()[:, :-1],
        "item_embedding.weight": model.item_fields.ids.numpy()[:, :-1],
    }
    return "general_recommender.bpr.BPR", {"embedding_size": D}, weights


def _fields(model: Fm | DeepFm, bias: float) -> Weights:
    """Vectors and weights of the fields user id, age, job, item id, and apart from them of the categories."""
    users, items = model.user_fields, model.item_fields
    tokens = np.concatenate([users.ids.numpy(), users.values.numpy(), items.ids.numpy()])
    classes = items.names.numpy()
    return {
        "token_embedding_table.embedding.weight": tokens[:, :-1],
        "token_seq_embedding_table.0.weight": classes[:, :-1],
        "first_order_linear.token_embedding_table.embedding.weight": tokens[:, -1:],
        "first_order_linear.token_seq_embedding_table.0.weight": classes[:, -1:],
        "first_order_linear.bias": np.array([bias], np.float32),
    }


def _fm(model: Fm) -> tuple[str, dict[str, Any], Weights]:
    return "context_aware_recommender.fm.FM", {"embedding_size": D}, _fields(model, float(model.bias))


def _linear(name: str, layer: keras.layers.Dense) -> Weights:
    return {f"{name}.weight": layer.kernel.numpy().T, f"{name}.bias": layer.bias.numpy()}


def _tower(first: np.ndarray, model: NeuMf | DeepFm) -> Weights:
    """`first` is the first layer's matrix in RecBole's order; its modules come in threes: dropout, linear, ReLU."""
    weights = {"mlp_layers.mlp_layers.1.weight": first.T}
    weights["mlp_layers.mlp_layers.1.bias"] = model.tower.of_item.bias.numpy()
    for number, layer in enumerate(model.tower.above, start=1):
        weights |= _linear(f"mlp_layers.mlp_layers.{1 + 3 * number}", layer)
    return weights


def _neumf(model: NeuMf) -> tuple[str, dict[str, Any], Weights]:
    users, items = model.user_fields.ids.numpy(), model.item_fields.ids.numpy()
    first = np.concatenate([model.tower.of_user.kernel.numpy(), model.tower.of_item.kernel.numpy()])
    weights = {
        "user_mf_embedding.weight": users[:, :D],
        "user_mlp_embedding.weight": users[:, D:],
        "item_mf_embedding.weight": items[:, :D],
        "item_mlp_embedding.weight": items[:, D:],
    }
    config = {"mf_embedding_size": D, "mlp_embedding_size": D, "mlp_hidden_size": HIDDEN, "dropout_prob": 0.0}
    config |= {"mf_train": True, "mlp_train": True, "use_pretrain": False}
    return (
        "general_recommender.neumf.NeuMF",
        config,
        weights | _tower(first, model) | _linear("predict_layer", model.logit),
    )


def _deepfm(model: DeepFm) -> tuple[str, dict[str, Any], Weights]:
    of_user, of_item = model.tower.of_user.kernel.numpy(), model.tower.of_item.kernel.numpy()
    first = np.concatenate([of_item[D:], of_user, of_item[:D]])  # class, user id, age, job, item id
    weights = _fields(model, 0.0) | _tower(first, model) | _linear("deep_predict_layer", model.logit)
    config = {"embedding_size": D, "mlp_hidden_size": HIDDEN, "dropout_prob": 0.0}
    return "context_aware_recommender.deepfm.DeepFM", config, weights


def _sasrec(model: SasRec) -> tuple[str, dict[str, Any], Weights]:
    def norm(name: str, layer: keras.layers.LayerNormalization) -> Weights:
        return {f"{name}.weight": layer.gamma.numpy(), f"{name}.bias": layer.beta.numpy()}

    items = model.item_fields.ids.numpy().copy()
    items[0] = 0.0
    weights = {"item_embedding.weight": items, "position_embedding.weight": np.zeros((50, D), np.float32)}
    weights |= norm("LayerNorm", model.norm)
    for number, block in enumerate(model.blocks):
        layer = f"trm_encoder.layer.{number}"
        both, bias = block.key_value.kernel.numpy().T, block.key_value.bias.numpy()
        weights |= _linear(f"{layer}.multi_head_attention.query", block.query)
        weights |= _linear(f"{layer}.multi_head_attention.dense", block.mix)
        for name, part in (("key", slice(None, D)), ("value", slice(D, None))):
            weights[f"{layer}.multi_head_attention.{name}.weight"] = both[part]
            weights[f"{layer}.multi_head_attention.{name}.bias"] = bias[part]
        weights |= norm(f"{layer}.multi_head_attention.LayerNorm", block.attention_norm)
        weights |= _linear(f"{layer}.feed_forward.dense_1", block.widen)
        weights |= _linear(f"{layer}.feed_forward.dense_2", block.narrow)
        weights |= norm(f"{layer}.feed_forward.LayerNorm", block.feed_norm)
    config = {"n_layers": len(model.blocks), "n_heads": 2, "hidden_size": D, "inner_size": 24, "hidden_act": "gelu"}
    config |= {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "layer_norm_eps": model.norm.epsilon}
    config |= {"initializer_range": 0.02, "loss_type": "CE", "MAX_ITEM_LIST_LENGTH": 50}
    return "sequential_recommender.sasrec.SASRec", config, weights


if __name__ == "__main__":
    app.run(main)
