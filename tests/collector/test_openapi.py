"""The OpenAPI description: it names every route, and what it says of them holds for generated requests."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from dccl_tf.collector import Collector, Settings, bundle_api, device_api, health_api, operator_api
from dccl_tf.collector.openapi import DESCRIPTION
from tests.collector.bundles import TINY
from tests.collector.devices import SmallDevice
from tests.collector.served import Served

OPERATOR = {"Authorization": "Bearer 0123456789abcdef"}
schemathesis.openapi.media_type("application/zip", st.binary(max_size=200))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A collector with a bundle, over a real connection; the operator's token is known."""
    folder = tmp_path_factory.mktemp("openapi") / "collector"
    folder.mkdir()
    (folder / "operator_token").write_text(OPERATOR["Authorization"].removeprefix("Bearer "))
    collector = Collector.open(Settings(data_dir=folder))
    collector.publish(TINY, percent=100)
    upload = SmallDevice("d1", collector.store.register_device("d1")).body()
    collector.close()
    bodies = st.binary(max_size=300) | st.just(upload) | st.integers(0, len(upload)).map(lambda end: upload[:end])
    schemathesis.openapi.media_type("application/x-protobuf", bodies)
    with Served(folder) as served:
        yield served


# Bodies in protobuf have no schema in JSON, so the description cannot tell good ones from bad ones.
EXCLUDED = [schemathesis.checks.negative_data_rejection, schemathesis.checks.positive_data_acceptance]
CALLS = [(path, method.upper()) for path, item in DESCRIPTION["paths"].items() for method in item]


@pytest.mark.parametrize(("path", "method"), CALLS)
def test_every_call_does_as_described(served, path, method):
    """Generated requests, good and bad: no 500, no status, header, media type or content that is not described."""
    operation = schemathesis.openapi.from_url(f"http://127.0.0.1:{served.port}/openapi.json")[path][method]
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(cases)
    def calls(case):
        case.call_and_validate(headers=OPERATOR, excluded_checks=EXCLUDED)

    calls()


def test_every_route_is_described():
    modules = (device_api, bundle_api, operator_api, health_api)
    routes = {
        (route.path.replace(":path", ""), method)
        for module in modules
        for route in module.ROUTES
        for method in route.methods - {"HEAD"}
    }
    assert set(CALLS) == routes
