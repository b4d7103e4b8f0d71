"""Logs of interactions to packed batches: loaders, filters, splits, negatives."""
