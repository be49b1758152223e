"""Which layers cost a quantized model its accuracy, and by what: what `--explain-quantization` tells."""
