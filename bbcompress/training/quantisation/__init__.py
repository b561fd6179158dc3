"""Networks of torch to exact ones: integers, calibrated settings, and the samples these rest on."""
