"""Whole sequences of steps of diffusers' schedulers, on outputs given beforehand."""

import json
import sys

import diffusers
import numpy as np
import torch

inputs = np.load(sys.argv[1])
outputs = {}
for number, text in enumerate(inputs["configs"]):
    config = json.loads(str(text))
    steps = config.pop("steps")
    kind = getattr(diffusers, config.pop("_class_name"))
    scheduler = kind.from_config(config)
    scheduler.set_timesteps(steps)
    answers = torch.from_numpy(inputs["answers"])
    sample = torch.from_numpy(inputs["sample"])
    samples = []
    for at, time in enumerate(scheduler.timesteps):
        sample = scheduler.step(answers[at], time, sample).prev_sample
        samples.append(sample.numpy())
    outputs[f"timesteps_{number}"] = scheduler.timesteps.numpy()
    outputs[f"samples_{number}"] = np.stack(samples)
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps[[0, len(scheduler.timesteps) // 2]]
    start = torch.from_numpy(inputs["sample"])
    noisy = scheduler.add_noise(start, answers[0], times)
    outputs[f"noisy_{number}"] = noisy.numpy()
np.savez(sys.argv[2], **outputs)
