"""Numbers of tokens that the code fixes and the plan counts with."""

CHUNK_TOKENS = 1024  # completion tokens whose logits exist at one time in the learner
ENGINE_STEP_TOKENS = 8192  # tokens that vLLM batches in one step, where no rollout is longer
