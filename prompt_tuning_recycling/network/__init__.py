"""T5 1.1 with an optional soft prompt, in Flax Linen.

The architecture is that of Raffel et al. 2020 (arXiv 1910.10683) as revised in T5 1.1
(Shazeer 2020, arXiv 2002.05202: gated GELU); the prompt is that of Lester et al. 2021
(arXiv 2104.08691). Parameters, logical axes, call signatures (`__call__`, `encode`,
`decode`) and the decoding cache have the names and shapes that T5X gives them. The
network therefore reads T5X's checkpoints, and can be the module of T5X's
`EncoderDecoderModel`.

| parameter | shape |
|---|---|
| `token_embedder/embedding` | [vocab_size, emb_dim] |
| `encoder/prompt/prompt/prompt` | [prompt_length, emb_dim] |
| `{encoder,decoder}/relpos_bias/rel_embedding` | [num_heads, 32] |
| `.../layers_N/*attention/{query,key,value}/kernel` | [emb_dim, num_heads * head_dim] |
| `.../layers_N/*attention/out/kernel` | [num_heads * head_dim, emb_dim] |
| `.../layers_N/mlp/{wi_0,wi_1}/kernel` | [emb_dim, mlp_dim] |
| `.../layers_N/mlp/wo/kernel` | [mlp_dim, emb_dim] |
| `.../*norm/scale` | [emb_dim] |
| `decoder/logits_dense/kernel` | [emb_dim, vocab_size] |

With one activation, as in T5 1.0, `wi` takes the place of `wi_0` and `wi_1`; with
`logits_via_embedding` there is no `logits_dense`.
"""

from prompt_tuning_recycling.network.attention import relative_position_buckets
from prompt_tuning_recycling.network.config import T5Config
from prompt_tuning_recycling.network.prompt import without_prompt
from prompt_tuning_recycling.network.sizes import check_sizes, resized, told_sizes
from prompt_tuning_recycling.network.transformer import Transformer

__all__ = [
    "T5Config",
    "Transformer",
    "check_sizes",
    "relative_position_buckets",
    "resized",
    "told_sizes",
    "without_prompt",
]
