"""Changes to the graph that Keras builds for OpenVINO, before it is compiled."""
