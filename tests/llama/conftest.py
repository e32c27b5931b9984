"""Collects nothing unless the extra [llama] is installed."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("gguf") is None or find_spec("xllamacpp") is None:
    collect_ignore = ["test_llama_cpp.py"]
