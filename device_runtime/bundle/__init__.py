"""What the cloud ships: its files, its vocabulary, and the golden calls that prove a machine fit for it."""
