"""Text by networks: prompts are continued, token after token.

sampling.py    specs such as "temperature(0.7) + top_p(0.9)", and how tokens are drawn
continuation.py the loop, inside jit: cached, ragged prompts, an early end
recompute.py   networks without a cache
generate.py    `kdjax.generate`: lists of prompts in, lists of answers out
mixture.py     two networks that write together
rollout.py     a batch of prompts as rows to train on, inside jit
"""
