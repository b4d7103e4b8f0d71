"""Makes the checkout importable for a program that is run by its path: `python scripts/prepare_data.py`, from any
folder and without installing. Python then looks for modules beside the program alone."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
