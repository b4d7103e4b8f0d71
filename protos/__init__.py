"""The wire format: messages between cloud and device (dccl.proto), and their signature."""
