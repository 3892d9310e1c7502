"""One thread for all tests: on a busy machine the threads of one operator wait for each other longer than they compute."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
