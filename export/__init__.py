"""From a cloud model to one certified .tflite bundle for every phone."""
