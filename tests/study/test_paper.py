"""The figures copied from the paper agree with the improvements that it prints."""

import pytest

from dccl_tf.study import paper


def test_an_improvement_by_hand():
    # NDCG@10 on MovieLens-1M: 59.77 / 58.65 - 1 = 1.91%
    assert paper.figure(paper.TABLE_2["ml-1m"], "DCCL", "ndcg@10/neg100") == 59.77
    gain = 100 * (59.77 / 58.65 - 1)
    assert gain == pytest.approx(paper.IMPROVEMENT["ml-1m"][4], abs=0.005)


@pytest.mark.parametrize("dataset", paper.TABLE_2)
@pytest.mark.parametrize("place", range(5))
def test_the_improvement_column_is_dccl_over_the_best_other(dataset, place):
    table = paper.TABLE_2[dataset]
    best = max(figures[place] for method, figures in table.items() if method != "DCCL")
    # Figures of two decimals around 25 to 80: a printed gain can be off by 0.03.
    assert 100 * (table["DCCL"][place] / best - 1) == pytest.approx(paper.IMPROVEMENT[dataset][place], abs=0.03)


def test_tables_2_and_3_tell_the_same_of_taobao():
    assert paper.TABLE_3["DIN"] == paper.TABLE_2["taobao"]["DIN"]
    assert paper.TABLE_3["DCCL-m"] == paper.TABLE_2["taobao"]["DCCL"]


def test_what_the_paper_has_not_is_none():
    assert paper.figure(paper.TABLE_3, "DIN", "ndcg@10/full") is None
    assert paper.figure(paper.TABLE_3, "SASRec", "hr@1/neg100") is None
