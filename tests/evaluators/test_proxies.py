"""Proxies against small networks computed by hand, brute force, and identities of the papers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archfront.evaluators.data import Dataset
from archfront.evaluators.proxies import PROXIES, ProxyScores
from archfront.evaluators.proxies.grad_norm import grad_norm
from archfront.evaluators.proxies.jacob_cov import FLOOR, jacob_cov
from archfront.evaluators.proxies.naswot import naswot
from archfront.evaluators.proxies.proxy import Batch
from archfront.evaluators.proxies.snip import snip
from archfront.evaluators.proxies.synflow import synflow
from archfront.evaluators.proxies.zen import IMAGES, REPEATS, zen
from archfront.evaluators.task import Classification
from archfront.hw_profiles.metrics import metric
from archfront.space import Space
from archfront.space.network import NetworkModule
from archfront.space.presets import PRESETS
from archfront.space.types import Image


def batch(images: int = 6, size: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.randn(images, 1, size, size, generator=generator), torch.arange(images) % 3, Classification(3))


def linear(size: int = 4) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(size * size, 5), nn.ReLU(), nn.Linear(5, 3))


# --------------------------------------------------------------------------- every one


def test_scores_repeat_whatever_was_scored_in_between(elastic: Space, digits: Dataset) -> None:
    scores = ProxyScores(digits.train, Classification(10), images=16)
    first = scores.evaluate(elastic.sample(0))
    scores.evaluate(elastic.sample(1))
    torch.manual_seed(99)
    assert scores.evaluate(elastic.sample(0)) == first
    assert first != scores.evaluate(elastic.sample(1))
    assert tuple(first) == scores.metrics == tuple(PROXIES)


def test_the_random_state_of_the_caller_is_left_alone(elastic: Space, digits: Dataset) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ProxyScores(digits.train, Classification(10), images=8).evaluate(elastic.sample(0))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", PROXIES)
def test_every_proxy_is_a_metric_with_a_paper(name: str) -> None:
    assert metric(name).direction == "max"
    assert PROXIES[name].paper.year >= 2019


@pytest.mark.parametrize("space", ["hybrid", "large_kernel", "isotropic"])
def test_every_proxy_scores_spaces_with_attention_and_without_batch_normalisation(space: str) -> None:
    x = Image(3, 32, 32)
    architecture = PRESETS[space].make(x, 3).sample(0)
    given = Batch(torch.randn(4, 3, 32, 32), torch.arange(4) % 3, Classification(3))
    for proxy in PROXIES.values():
        torch.manual_seed(0)
        assert math.isfinite(proxy.score(architecture.build().train(), given)), proxy.metric.name


# --------------------------------------------------------------------------- gradients of the loss


def test_gradient_norm_and_snip_follow_the_chain_rule_by_hand() -> None:
    network, given = linear(), batch()
    first, second = network[1], network[3]
    x = given.x.flatten(1)
    with torch.no_grad():
        hidden = x @ first.weight.T + first.bias
        on = hidden.clamp(min=0)
        error = (on @ second.weight.T + second.bias).softmax(-1)
        error[torch.arange(6), given.y] -= 1
        error /= 6
        of_second = error.T @ on
        of_first = ((error @ second.weight) * (hidden > 0)).T @ x
        norms = float(of_first.norm() + of_second.norm())
        products = float((of_first * first.weight).abs().sum() + (of_second * second.weight).abs().sum())
    assert grad_norm(network, given) == pytest.approx(norms, rel=1e-5)
    assert snip(network, given) == pytest.approx(products, rel=1e-5)


def test_they_scale_with_a_layer_as_calculus_says() -> None:
    """L depends on the product of both layers: halving one and doubling the other leaves every w dL/dw as it is."""
    given, one, other = batch(), linear(), linear()
    with torch.no_grad():
        other[1].weight *= 2
        other[1].bias *= 2
        other[3].weight /= 2
    assert snip(other, given) == pytest.approx(snip(one, given), rel=1e-5)


# --------------------------------------------------------------------------- SynFlow


def test_flow_is_conserved_so_that_the_score_is_layers_times_flow() -> None:
    """Without biases every layer's weights have the same sum of w dR/dw, which is R (Tanaka et al., 2020)."""
    torch.manual_seed(2)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3, bias=False),
        nn.Flatten(), nn.Linear(8, 3, bias=False),
    )  # fmt: skip
    convolutions = [module for module in network if isinstance(module, (nn.Conv2d, nn.Linear))]
    first, second, last = (module.weight.detach().double().abs() for module in convolutions)
    features = F.conv2d(F.conv2d(torch.ones(1, 1, 4, 4).double(), first, padding=1), second).flatten(1)
    flow = float((features @ last.T).sum())
    assert synflow(network, batch()) == pytest.approx(math.log(3 * flow), rel=1e-12)


def test_synflow_takes_normalisations_of_single_values() -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(1, 3, 8), nn.Conv2d(3, 2, 1)
    normed = nn.Sequential(first, nn.BatchNorm2d(3), nn.InstanceNorm2d(3), second, nn.Flatten())
    given = batch()._replace(x=torch.randn(4, 1, 8, 8))
    assert synflow(normed, given) == synflow(nn.Sequential(first, second, nn.Flatten()), given)


def test_synflow_does_not_look_at_data() -> None:
    given = batch()
    assert synflow(linear(), given) == synflow(linear(), given._replace(x=torch.zeros_like(given.x)))


# --------------------------------------------------------------------------- NASWOT


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.GELU(), nn.SiLU(), nn.Hardswish()]
)
def test_naswot_is_the_determinant_of_hamming_similarities(activation: nn.Module) -> None:
    network, given = linear(), batch()
    network[2] = activation
    with torch.no_grad():
        codes = (network[1](given.x.flatten(1)) > 0).tolist()
    kernel = [[float(sum(a == b for a, b in zip(one, other, strict=True))) for other in codes] for one in codes]
    expected = torch.linalg.slogdet(torch.tensor(kernel, dtype=torch.float64)).logabsdet
    assert naswot(network, given) == pytest.approx(float(expected), rel=1e-9)


def test_two_equal_images_cannot_be_told_apart() -> None:
    given = batch()
    x = given.x.clone()
    x[1] = x[0]
    assert naswot(linear(), given._replace(x=x)) < naswot(linear(), given) - 10


def test_a_network_without_activations_has_the_worst_score() -> None:
    assert naswot(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), batch()) == -math.inf


# --------------------------------------------------------------------------- Jacobian covariance


def test_the_jacobian_is_that_of_finite_differences() -> None:
    network, given = linear().double(), batch()
    given = given._replace(x=given.x.double())
    rows = torch.zeros(6, 16, dtype=torch.float64)
    with torch.no_grad():
        for pixel in range(16):
            moved = given.x.flatten(1).clone()
            moved[:, pixel] += 1e-6
            rows[:, pixel] = (network(moved.reshape(given.x.shape)) - network(given.x)).sum(1) / 1e-6
    centred = rows - rows.mean(1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True)
    values = torch.linalg.eigvalsh(unit @ unit.T).clamp(min=0)
    expected = -sum(math.log(v + FLOOR) + 1 / (v + FLOOR) for v in values.tolist())
    assert jacob_cov(network, given) == pytest.approx(expected, rel=1e-3)


def test_uncorrelated_rows_give_the_best_score() -> None:
    class Squares(nn.Module):
        """Its gradient at an image is the image."""

        def forward(self, x: Tensor) -> Tensor:
            return (x.square() / 2).flatten(1)

    hadamard = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    given = batch()._replace(x=hadamard.reshape(3, 1, 2, 2))
    assert jacob_cov(Squares(), given) == pytest.approx(-3 * (math.log(1 + FLOOR) + 1 / (1 + FLOOR)))
    assert jacob_cov(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), batch()) < -1e5  # equal rows: one eigenvalue alone


# --------------------------------------------------------------------------- Zen


def chain(*layers: nn.Module) -> NetworkModule:
    return NetworkModule(nn.Identity(), nn.Sequential(*layers), nn.Identity())


def draws() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Weights, images and changes in the order in which the score draws them."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(REPEATS):
        weight = torch.randn(3, 1, 1, 1, generator=generator)
        x, e = torch.randn(2, 6, 1, 4, 4, generator=generator)
        found.append((weight, x, e))
    return found


def test_zen_of_a_linear_map_is_the_size_of_what_it_makes_of_the_change() -> None:
    expected = 0.0
    for weight, _, e in draws():
        expected += math.log(float((0.01 * weight.flatten().norm() * e.flatten(1).norm(dim=1)).mean())) / REPEATS
    assert zen(chain(nn.Conv2d(1, 3, 1)), batch()) == pytest.approx(expected, rel=1e-4)
    assert len(batch().x) < IMAGES


def test_zen_gives_back_the_scale_that_batch_normalisation_takes() -> None:
    expected = 0.0
    for weight, x, e in draws():
        features = weight.flatten()[None, :, None, None] * x
        moved = weight.flatten()[None, :, None, None] * (x + 0.01 * e)

        def normal(maps: Tensor) -> Tensor:
            mean, var = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), correction=0, keepdim=True)
            return (maps - mean) / (var + 1e-5).sqrt()

        change = (normal(features) - normal(moved)).flatten(1).norm(dim=1).mean()
        spread = features.var((0, 2, 3), correction=0).mean()
        expected += (math.log(float(change)) + 0.5 * math.log(float(spread))) / REPEATS
    assert zen(chain(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)), batch()) == pytest.approx(expected, rel=1e-3)


def test_zen_does_not_look_at_data() -> None:
    given = batch()
    layers = nn.Conv2d(1, 3, 1), nn.ReLU()
    assert zen(chain(*layers), given) == zen(chain(*layers), given._replace(x=torch.zeros_like(given.x)))
