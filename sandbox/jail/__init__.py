"""The jail: processes that run model-written code, and what keeps them apart."""
