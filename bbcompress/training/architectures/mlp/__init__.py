"""The VAE of the paper's MNIST experiments: its network, what a run of it trains, and its export."""
