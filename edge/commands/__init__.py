"""One file per verb of the command line; each is imported only when its verb is used."""
