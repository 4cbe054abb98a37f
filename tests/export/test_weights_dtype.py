"""float32 and float16 files have the same outputs; unrounded weights are not stored as float16."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from birds import drawn
from export.quantization import compute_outputs
from export.weights_dtype import convert, float_convolutions, have_equal_weights, round_network
from fieldmark.errors import NetworkError
from tests.conftest import SIZE

BIRDS = np.stack([drawn.draw_bird(name, 7, SIZE, SIZE) for name in drawn.SPECIES])


def test_float16_is_half_as_large_with_the_same_outputs_as_float32(float_model, graph):
    half, single = convert(float_model, "fp16"), convert(float_model, "fp32")
    assert half.ByteSize() < 0.7 * single.ByteSize()
    assert TensorProto.FLOAT16 not in {t.data_type for t in single.graph.initializer}
    with torch.no_grad():
        expected = graph(torch.from_numpy(BIRDS))
    outputs = [compute_outputs(model, BIRDS) for model in (half, single)]
    for (name, values), reference in zip(outputs[0].items(), expected, strict=True):
        assert np.array_equal(values, outputs[1][name])
        assert np.allclose(values, reference, atol=1e-4)


def test_the_exported_file_has_the_weights_of_float16(float_model, model):
    assert convert(float_model, "fp16").graph == onnx.load(model).graph


def test_unrounded_weights_are_not_stored_as_float16(float_model):
    unrounded = onnx.ModelProto()
    unrounded.CopyFrom(float_model)
    tensors = {tensor.name: tensor for tensor in unrounded.graph.initializer}
    tensor = tensors[float_convolutions(unrounded)[0]]
    values = numpy_helper.to_array(tensor) * np.float32(1.0001)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ValueError, match="round the network"):
        convert(unrounded, "fp16")


def test_another_dtype_is_refused(float_model):
    with pytest.raises(ValueError, match="fp32 and fp16"):
        convert(float_model, "int4")


def test_rounding_returns_a_copy_and_refuses_what_float16_cannot_hold(network):
    with torch.no_grad():
        network.head[-1].weight.mul_(1.0001)
    rounded = round_network(network, "fp16")
    assert not have_equal_weights(network, rounded)
    assert have_equal_weights(network, round_network(network, "fp32"))
    assert have_equal_weights(rounded, round_network(rounded, "fp16"))
    with torch.no_grad():
        network.head[-1].weight[0, 0] = 1e6
    with pytest.raises(NetworkError, match="fp32"):
        round_network(network, "fp16")
