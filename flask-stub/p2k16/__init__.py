"""p2k16, the membership system of a makerspace: the legacy system, in Flask."""
