"""The command line."""

if __name__ != "pruna_ir.tools":  # a second copy of every class, unknown to the registry
    raise ImportError("import pruna_ir.tools, not tools: the folder is a part of the package pruna_ir")
