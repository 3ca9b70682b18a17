"""The pixels that `tf.io.decode_image` gives, without TensorFlow: one module a kind of file."""
