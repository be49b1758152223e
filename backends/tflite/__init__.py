"""The TFLite back end: flatbuffers for LiteRT, with the scales of the Q/DQ graph kept bit for bit."""
