"""The TFLite wheel behind one adapter: which one is installed, what a file needs of it, a model's signatures."""
