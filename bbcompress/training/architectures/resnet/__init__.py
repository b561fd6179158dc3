"""The paper's CIFAR-10 VAE: its network, what a run of it trains, and its export."""
