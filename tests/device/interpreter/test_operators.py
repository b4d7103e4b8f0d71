"""The flatbuffer reader."""

from pathlib import Path

import pytest

from device_runtime import ModelError, UnsupportedOperatorError, load_runtime, read_operators, read_outline

FLEX = Path(__file__).parents[1] / "flex.tflite"
ENCODED = {"encode", "evaluate_encoded", "train_encoded"}
SIGNATURES = ENCODED | {"infer", "evaluate", "train", "init", "rebase", "get", "set", "reset"}


def test_signatures_point_to_subgraphs(bundle):
    outline = read_outline(bundle.model_bytes)
    assert set(outline.signatures) == SIGNATURES
    assert outline.subgraphs[outline.signatures["train"]] == "train"


def test_operators_are_those_the_converter_wrote(bundle):
    recorded = {(operator.name, operator.version) for operator in bundle.manifest.operators}
    assert {(use.name, use.version) for use in read_operators(bundle.model_bytes)} == recorded
    assert ("FULLY_CONNECTED", 5) in recorded


def test_uses_are_counted_in_each_subgraph(bundle):
    outline = read_outline(bundle.model_bytes)
    assign = next(use for use in outline.operators if use.name == "ASSIGN_VARIABLE")
    # The vector, two moments and the step are written by `set`, none by `infer`.
    assert assign.counts[outline.signatures["set"]] == 4
    assert assign.counts[outline.signatures["infer"]] == 0


def test_a_flex_operator_is_named_with_the_way_out():
    with pytest.raises(UnsupportedOperatorError, match=r"Flex delegate for FlexReluGrad.*export it again"):
        load_runtime(FLEX.read_bytes())


def test_a_custom_operator_that_is_not_flex_is_named():
    model = FLEX.read_bytes().replace(b"FlexReluGrad", b"OurOwnKernel")
    with pytest.raises(UnsupportedOperatorError, match="custom operators OurOwnKernel"):
        load_runtime(model)


@pytest.mark.parametrize("tenths", range(10))
def test_a_truncated_file_is_refused_before_an_interpreter_sees_it(bundle, tenths):
    with pytest.raises(ModelError, match="model: "):
        load_runtime(bundle.model_bytes[: len(bundle.model_bytes) * tenths // 10])


def test_a_path_is_read_like_its_bytes(bundle, bundle_path, tmp_path):
    assert read_outline(bundle_path / "model.tflite") == read_outline(bundle.model_bytes)
    (tmp_path / "empty").write_bytes(b"")
    for path in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(ModelError, match="cannot be read"):
            load_runtime(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"PK\3\4" + b"\0" * 60])
def test_other_files_are_refused(content):
    with pytest.raises(ModelError, match=r"expected a .tflite file"):
        read_operators(content)
