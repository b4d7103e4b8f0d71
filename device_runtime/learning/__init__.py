"""From the log to a trained vector, and the evidence that opens its gate."""
