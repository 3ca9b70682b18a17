"""The engines `openvino` and `openvino-bf16`: Keras on OpenVINO, without TensorFlow."""
