"""The newest version of each builtin operator that tflite-runtime 2.14 runs.

Facts from tensorflow/lite/core/kernels/register.cc (Apache 2.0) as of 2023, before release 2.14; an operator that is
not listed here is taken not to be known.
"""

OLDEST_RUNTIME = "tflite-runtime 2.14.0"

_ONLY_FIRST = """
ADD_N BROADCAST_ARGS CALL_ONCE CEIL COS CUMSUM ELU EXPAND_DIMS FLOOR HARD_SWISH IF LOGICAL_AND LOGICAL_NOT LOGICAL_OR
NEG ONE_HOT POW PRELU RANK REDUCE_ALL REDUCE_ANY RELU_0_TO_1 RELU_N1_TO_1 RESHAPE ROUND SCATTER_ND SEGMENT_SUM SHAPE
SIN SQRT SQUARE UNIQUE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE WHILE ZEROS_LIKE
"""

NEWEST: dict[str, int] = dict.fromkeys(_ONLY_FIRST.split(), 1) | {
    "ABS": 5, "ADD": 5, "ARG_MAX": 3, "ARG_MIN": 3, "BATCH_MATMUL": 4, "BROADCAST_TO": 3, "CAST": 5,
    "CONCATENATION": 4, "DEQUANTIZE": 5, "DIV": 2, "EMBEDDING_LOOKUP": 3, "EQUAL": 4, "EXP": 2, "FILL": 4,
    "FLOOR_DIV": 3, "FLOOR_MOD": 2, "FULLY_CONNECTED": 10, "GATHER": 6, "GATHER_ND": 4, "GREATER": 2,
    "GREATER_EQUAL": 3, "L2_NORMALIZATION": 2, "LEAKY_RELU": 2, "LESS": 3, "LESS_EQUAL": 2, "LOG": 2,
    "LOG_SOFTMAX": 2, "LOGISTIC": 3, "MAXIMUM": 4, "MEAN": 3, "MINIMUM": 4, "MIRROR_PAD": 3, "MUL": 7,
    "NOT_EQUAL": 3, "PACK": 4, "PAD": 4, "PADV2": 4, "QUANTIZE": 3, "RANGE": 2, "REDUCE_MAX": 3, "REDUCE_MIN": 3,
    "REDUCE_PROD": 2, "RELU": 3, "RELU6": 3, "REVERSE_V2": 3, "RSQRT": 2, "SELECT": 4, "SELECT_V2": 2, "SLICE": 6,
    "SOFTMAX": 3, "SPLIT": 4, "SPLIT_V": 2, "SQUARED_DIFFERENCE": 2, "SQUEEZE": 2, "STRIDED_SLICE": 8, "SUB": 5,
    "SUM": 2, "TANH": 3, "TILE": 3, "TOPK_V2": 3, "TRANSPOSE": 6, "UNPACK": 4, "WHERE": 2,
}  # fmt: skip
