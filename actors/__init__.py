"""The distributed system: engines, graders, learner, drivers and publishing. The only package that imports ray and vllm."""
