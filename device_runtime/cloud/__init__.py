"""What passes between a device and the collector: registration, bundles, and uploads with their noise."""
