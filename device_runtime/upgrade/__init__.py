"""How a bundle comes into use: accepted here, installed, opened with the state so far, or rolled back."""
