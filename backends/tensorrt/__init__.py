"""The TensorRT back end: a network that TensorRT's parser takes as it stands, and a script that builds and times it."""
