"""The back ends: one folder each, which legalizes a Model, emits it and checks what it wrote."""

if __name__ != "pruna_ir.backends":  # a second copy of every class, unknown to the registry
    raise ImportError("import pruna_ir.backends, not backends: the folder is a part of the package pruna_ir")
