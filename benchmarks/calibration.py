"""How many images the batch statistics of a candidate need, and what they cost.

    python benchmarks/calibration.py [--quick] [--seed N] [--json FILE]

A supernet is trained on the built-in digits by the sandwich rule. Random architectures are rated with statistics from
ever more training images, and from all of them; the order and the accuracies are compared with the latter.
"""

from __future__ import annotations

import time

import numpy as np
from _common import Figures, Run, main

from archfront.evaluators.accuracy import SupernetAccuracy
from archfront.evaluators.audit import spearman
from archfront.evaluators.data import load_data
from archfront.evaluators.rules.sandwich import Sandwich
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Recipe, Training
from archfront.space.presets import preset_named

IMAGES = (16, 32, 64, 128, 256, 512)


def measure(run: Run) -> Figures:
    """The comparison for every number of images."""
    data = load_data("digits", seed=run.seed)
    space, task = preset_named("micro").make(data.input, 10), Classification(10)
    supernet, recipe = Supernet(space, run.seed), Recipe(epochs=1 if run.quick else 10)
    rule = Sandwich(supernet, task, recipe.steps(len(data.train)), seed=run.seed)
    Training(rule.parameters, rule, data.train, recipe, seed=run.seed).run()
    architectures = [space.sample(run.seed + i, over="sites") for i in range(8 if run.quick else 32)]
    rated, milliseconds = {}, {}
    for images in (*IMAGES, len(data.train)):
        rating = SupernetAccuracy(supernet, data, task, images)
        rating.evaluate(architectures[0])
        start = time.process_time()
        rated[images] = np.array([rating.evaluate(a)["supernet_accuracy"].value for a in architectures])
        milliseconds[images] = 1e3 * (time.process_time() - start) / len(architectures)
    every = rated[len(data.train)]
    table = [
        {
            "images": images,
            "Spearman with all": round(float(spearman(values, every)), 3),
            "largest difference": round(float(abs(values - every).max()), 4),
            "mean accuracy": round(float(values.mean()), 4),
            "ms a candidate": round(milliseconds[images], 1),
        }
        for images, values in rated.items()
    ]
    return {"architectures": len(architectures), "validation images": len(data.validation), "table": table}


if __name__ == "__main__":
    main("calibration", "512 images give batch statistics that order candidates as all images do", measure)
