"""One frozen recipe for each model family, one file each; a file here that defines RECIPE is found by its name."""
