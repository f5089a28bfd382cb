"""`auricle-export evaluate`: a packed bundle is examined through the runtime, part by part, on sound that nothing was trained on."""
