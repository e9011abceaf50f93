"""The paper's tables, figures and checks from run directories. No torch, ray or vllm; the runs are only read."""
