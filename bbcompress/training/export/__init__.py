"""Export: networks of torch become exact layers, calibrated, with a card."""
