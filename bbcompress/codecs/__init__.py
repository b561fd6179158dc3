"""How images become bytes: bits-back chains, direct coding and the general-purpose fallbacks."""
