"""The figures of the paper's Tables 2 to 4, in percent, to stand beside ours.

Tables 3 and 4 are on Taobao's own log, which was never published; ours are on other data, so only the order of the
methods and the size of the gains can be compared. The paper's Amazon has other categories than ours too.
"""

from collections.abc import Mapping

METRICS = ("hr@1/neg100", "hr@5/neg100", "hr@10/neg100", "ndcg@5/neg100", "ndcg@10/neg100")
Figures = Mapping[str, tuple[float, ...]]  # method to one figure for each of METRICS

TABLE_2: Mapping[str, Figures] = {
    "amazon": {
        "MF": (23.69, 35.74, 44.38, 29.83, 32.61),
        "FM": (21.53, 36.74, 47.90, 29.17, 32.77),
        "NeuMF": (26.10, 42.98, 52.32, 34.74, 37.76),
        "DeepFM": (25.43, 42.48, 53.51, 34.12, 37.67),
        "SASRec": (26.53, 44.22, 54.94, 35.60, 39.07),
        "DIN": (26.56, 44.00, 55.43, 35.48, 39.22),
        "DCCL": (26.94, 44.79, 56.59, 36.95, 40.45),
    },
    "ml-1m": {
        "MF": (14.60, 44.85, 63.54, 29.87, 35.89),
        "FM": (14.90, 47.13, 64.40, 30.27, 36.49),
        "NeuMF": (16.45, 46.24, 65.36, 31.71, 37.90),
        "DeepFM": (15.41, 47.35, 65.46, 31.82, 37.68),
        "SASRec": (34.85, 69.17, 80.69, 53.18, 56.94),
        "DIN": (37.45, 70.71, 81.25, 55.22, 58.65),
        "DCCL": (38.69, 71.97, 82.23, 56.43, 59.77),
    },
    "taobao": {
        "MF": (24.88, 50.83, 62.28, 38.46, 42.17),
        "FM": (25.29, 51.18, 63.96, 38.80, 42.93),
        "NeuMF": (29.11, 55.42, 65.78, 43.03, 46.40),
        "DeepFM": (33.28, 57.26, 66.09, 46.09, 48.95),
        "SASRec": (35.19, 60.13, 69.30, 48.52, 51.50),
        "DIN": (52.17, 68.12, 74.80, 60.65, 62.81),
        "DCCL": (55.71, 70.31, 76.70, 63.42, 65.49),
    },
}
# Gain of DCCL over the best other method, in percent of its figure, as the paper prints it.
IMPROVEMENT: Figures = {
    "amazon": (1.43, 1.29, 2.09, 3.79, 3.14),
    "ml-1m": (3.31, 1.78, 1.21, 2.19, 1.91),
    "taobao": (6.79, 3.21, 2.54, 4.57, 4.27),
}
TABLE_3: Figures = {  # Taobao
    "DIN": (52.17, 68.12, 74.80, 60.65, 62.81),
    "DCCL-e": (55.03, 70.03, 76.46, 62.99, 65.07),
    "DCCL-m": (55.71, 70.31, 76.70, 63.42, 65.49),
}
TABLE_4: Figures = {  # Taobao
    "1st junction": (53.26, 68.89, 75.54, 61.56, 63.71),
    "2nd junction": (54.10, 69.36, 75.86, 62.19, 64.29),
    "3rd junction": (52.36, 68.14, 74.85, 60.74, 62.92),
}


def figure(table: Figures, method: str, metric: str) -> float | None:
    """One figure in percent; None where the paper has none."""
    if method not in table or metric not in METRICS:
        return None
    return table[method][METRICS.index(metric)]
