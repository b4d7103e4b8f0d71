"""The cloud: data, models, training, the fleet of simulated devices, distillation (TensorFlow)."""
