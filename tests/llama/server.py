"""A real llama.cpp over HTTP, with a model of a few kilobytes: python -m tests.llama.server FILE N_CTX TEMPLATE.

Prints its base_url and serves until standard input ends. The model says "Yes." to everything; what is real is the
server: its chat templates, its limits, its errors.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

WIDTH: Final = 64
ANSWER: Final = "Yes."
STRICT: Final = (
    "{%- for message in messages %}"
    "{%- if message.role == 'system' and not loop.first %}"
    "{{- raise_exception('System message must be at the beginning.') }}{%- endif %}"
    "{%- if (message.role == 'user') == (loop.index0 % 2 == 0) and messages[0].role == 'system' %}"
    "{{- raise_exception('Conversation roles must alternate.') }}{%- endif %}"
    "{{- message.role + ': ' + message.content + '\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- 'assistant: ' }}{%- endif %}"
)


def write_model(path: Path) -> None:
    """One layer that adds nothing; the embedding of any token leads to ANSWER, that of ANSWER to the end."""
    import gguf
    import numpy as np

    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), ANSWER]
    kinds = [2, 3, 3, *([6] * 256), 1]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(1 << 16)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    embedding: Any = np.zeros((len(tokens), WIDTH), dtype=np.float32)
    embedding[:, 0] = 1
    embedding[-1] = np.eye(1, WIDTH, 1)
    output: Any = np.zeros((len(tokens), WIDTH), dtype=np.float32)
    output[-1, 0] = output[2, 1] = 10
    square: Any = np.zeros((WIDTH, WIDTH), dtype=np.float32)
    ones: Any = np.ones(WIDTH, dtype=np.float32)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", ones)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", square)
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", ones)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(file: str, n_ctx: str, template: str) -> None:
    import xllamacpp

    write_model(Path(file))
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.n_ctx = int(n_ctx)
    params.n_parallel = 1
    params.warmup = False
    params.use_jinja = True
    params.chat_template = template
    params.port = 0
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}/v1\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
