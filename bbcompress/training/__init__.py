"""Training in ordinary float torch: data sets, architectures, objectives, the loop and the run."""
