"""Packaging: a light base, and one extra for each kind of user (see README.md)."""

from pathlib import Path

from setuptools import find_packages, setup

# One environment can hold everything on Python 3.11: tflite-runtime 2.14 was built against NumPy 1.
NUMPY_1 = 'numpy<2; python_version < "3.12"'
TENACITY = "tenacity>=9.0,<10"  # retries: of uploads, and of opening a store
DEVICE = [
    NUMPY_1,
    'tflite-runtime==2.14.0; python_version < "3.12" and sys_platform == "linux"',
    'ai-edge-litert>=2.0,<3; python_version >= "3.12" or sys_platform != "linux"',
    TENACITY,
]
PRIVACY = ["dp-accounting>=0.4,<1"]  # epsilon of noisy uploads, where settings are chosen; brings SciPy
LITERT = ["ai-edge-litert>=2.0,<3", TENACITY]  # the same device on the newer runtime, with any NumPy
CLOUD = [
    NUMPY_1,
    "tensorflow>=2.21,<2.22",
    "tensorboard>=2.19,<3",
    "pandas>=2.2,<4",
    "pyarrow>=17,<24",
    "sqlalchemy>=2.0,<3",
    "alembic>=1.14,<2",
    TENACITY,
    "scikit-learn>=1.5,<2",
    "scipy>=1.13,<2",
    "matplotlib>=3.9,<4",
    "jinja2>=3.1,<4",
    "tqdm>=4.66,<5",
]
SPARK = ["pyspark>=4.0,<5"]  # on Java 17 or later; half a gigabyte
SERVICE = [
    "starlette>=0.41,<2",
    "uvicorn>=0.32,<1",
    'uvloop>=0.21,<1; sys_platform != "win32"',
    "httptools>=0.6,<1",
    "sqlalchemy>=2.0,<3",
    "alembic>=1.14,<2",
    TENACITY,
    "psycopg[binary]>=3.2,<4",
    "cryptography>=43",
    "fsspec>=2024.10",
    "brotli>=1.1,<2",
    "prometheus-client>=0.21,<1",
    "structlog>=24.4",
]
DEV = [
    "pytest>=8,<10",
    "pytest-xdist>=3.5,<4",
    "hypothesis>=6.100,<7",
    "ruff>=0.12,<1",
    "ai-edge-litert>=2.0,<3",
    "httpx>=0.27,<1",
    "schemathesis>=4,<5",
]

SCRIPTS = {
    "dccl-run": "run_dccl",
    "dccl-prepare-data": "prepare_data",
    "dccl-train-cloud": "train_cloud",
    "dccl-train-baseline": "train_baseline",
    "dccl-export": "export_tflite",
    "dccl-serve": "serve_cloud",
    "dccl-device": "run_device",
    "dccl-simulate-fleet": "simulate_fleet",
    "dccl-export-vectors": "export_vectors",
    "dccl-evaluate": "evaluate",
    "dccl-reproduce": "reproduce",
}

setup(
    name="dccl",
    version="0.1.0",
    description="Recommenders that personalise themselves on the phone: a TensorFlow cloud trainer, "
    "one .tflite for every device, and an on-device runtime that trains 16 to 32 floats.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["dccl_tf*", "export*", "device_runtime*", "protos*", "scripts*"]),
    package_data={"protos": ["*.proto"], "dccl_tf": ["report/*.html"]},
    install_requires=["numpy>=1.26,<3", "absl-py>=2.1,<3", "protobuf>=6.31,<8"],
    extras_require={
        "cloud": CLOUD,
        "service": SERVICE,
        "device": DEVICE,
        "litert": LITERT,
        "privacy": PRIVACY,
        "spark": SPARK,
        "dev": DEV,
    },
    entry_points={"console_scripts": [f"{name} = scripts.{module}:cli" for name, module in SCRIPTS.items()]},
)
