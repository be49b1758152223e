"""The passes: one transformation of a Model a file. `pruna_ir.registry` names them."""

if __name__ != "pruna_ir.passes":  # a second copy of every class, unknown to the registry
    raise ImportError("import pruna_ir.passes, not passes: the folder is a part of the package pruna_ir")
