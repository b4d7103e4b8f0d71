"""The edge: runs and trains a bundle with a plain TFLite wheel; never imports TensorFlow."""
