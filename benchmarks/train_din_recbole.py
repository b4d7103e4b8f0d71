"""RecBole's part of `train_din`, run in RecBole's own environment: a case in, figures out.

python train_din_recbole.py case.npz figures.json
"""

import logging
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from train_din_case import Case, repeat

np.long = np.int64  # RecBole 1.2.1 still uses the name, which NumPy 1.24 to 1.26 do not have
from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset  # noqa: E402
from recbole.model.sequential_recommender import DIN  # noqa: E402


def main() -> None:
    case = Case(sys.argv[1])
    settings = case.settings
    torch.manual_seed(0)
    torch.set_num_threads(settings["cores"])
    model = din(settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["learning_rate"])
    batches = [interaction(model, *columns) for columns in case.batches()]

    def train() -> float:
        model.train()
        losses = []
        for batch in batches:
            optimizer.zero_grad()
            loss = model.calculate_loss(batch)
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
        return float(np.average(losses, weights=[len(batch["label"]) for batch in batches]))

    @torch.no_grad()
    def logits() -> np.ndarray:
        model.eval()
        batch = interaction(model, *case.samples("test_"))
        columns = (batch[name] for name in (model.USER_ID, model.ITEM_SEQ, model.ITEM_SEQ_LEN, model.POS_ITEM_ID))
        return model(*columns).numpy()

    # RecBole gives its attention network the widths of the layers above.
    repeat(case, train, logits, case.flops_of_activation_unit(tuple(settings["hidden"])))


def din(settings: dict) -> DIN:
    """RecBole's model for so many items, by way of a data set in which each was met once."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "items").mkdir()
        lines = ["user_id:token\titem_id:token\ttimestamp:float\tlabel:float"]
        lines += [f"1\t{item}\t{item}\t1" for item in range(1, settings["items"] + 1)]
        (Path(folder) / "items" / "items.inter").write_text("\n".join(lines))
        config = Config(
            model="DIN",
            dataset="items",
            config_dict={
                "data_path": folder,
                "load_col": {"inter": ["user_id", "item_id", "timestamp", "label"]},
                "MAX_ITEM_LIST_LENGTH": settings["history_length"],
                "embedding_size": settings["width"],
                "mlp_hidden_size": settings["hidden"],
                "dropout_prob": 0.0,
                "use_gpu": False,
                "train_neg_sample_args": None,
            },
        )
        logging.disable()
        return DIN(config, create_dataset(config))


def interaction(model: DIN, history: np.ndarray, candidate: np.ndarray, target: np.ndarray) -> dict[str, torch.Tensor]:
    """A batch under RecBole's names; its histories begin on the left."""
    lengths = (history > 0).sum(axis=1)
    places = (np.arange(history.shape[1]) + history.shape[1] - lengths[:, None]) % history.shape[1]
    return {
        model.USER_ID: torch.ones(len(candidate), dtype=torch.long),
        model.ITEM_SEQ: torch.from_numpy(np.take_along_axis(history, places, axis=1)).long(),
        model.ITEM_SEQ_LEN: torch.from_numpy(lengths).long(),
        model.POS_ITEM_ID: torch.from_numpy(candidate).long(),
        model.LABEL_FIELD: torch.from_numpy(target).float(),
    }


if __name__ == "__main__":
    main()
