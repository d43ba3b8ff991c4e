"""`cm lock`: the packages of the image by version and hash, and its base images by digest."""
