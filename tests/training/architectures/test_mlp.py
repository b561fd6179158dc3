import torch

from bbcompress.training.architectures.mlp.network import MLPVAE


def test_shapes_and_parameters() -> None:
    for binary, outputs in ((True, 784), (False, 1568)):
        model = MLPVAE((28, 28), 16, binary=binary)
        x = torch.zeros(2, 784, dtype=torch.uint8)
        mu, sigma = model.encode(x)
        assert mu.shape == sigma.shape == (2, 16)
        assert (sigma > 0).all()
        assert model.decode(mu).shape == (2, outputs)
        assert [tuple(p.shape) for p in model.encoder.parameters()][::2] == [
            (500, 784),
            (500, 500),
            (32, 500),
        ]


def test_pixels_are_scaled_to_one() -> None:
    grey, binary = (MLPVAE((2, 2), 3, 8, binary=b) for b in (False, True))
    grey.encoder.load_state_dict(binary.encoder.state_dict())
    levels = torch.tensor([[0, 1, 1, 0]], dtype=torch.uint8)
    torch.testing.assert_close(grey.encode(255 * levels), binary.encode(levels))


def test_weights_come_from_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    one, same = (MLPVAE((4, 4), 2, 8, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    other = MLPVAE((4, 4), 2, 8, generator=torch.Generator().manual_seed(6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_bfloat16_returns_float32_close_to_float32() -> None:
    model = MLPVAE((4, 4), 2, 8)
    z = torch.ones(3, 2)
    exact = model.decode(z)
    model.compute_dtype = torch.bfloat16
    rounded = model.decode(z)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.02, rtol=0.02)
