"""What a model is: exact networks with an observation distribution, their checkpoints, and where they are found."""
