"""The collector: an ASGI service that takes devices' vectors in safely and hands bundles out (docs/collector.md).

    from dccl_tf.collector import Collector, Settings, application

    app = application(Collector.open(Settings(data_dir="collector")))   # any ASGI server runs it; dccl-serve does

Needs the `service` extra; imports no TensorFlow.
"""

from dccl_tf.collector.app import application
from dccl_tf.collector.collector import Collector
from dccl_tf.collector.settings import Settings

__all__ = ["Collector", "Settings", "application"]
