"""Container images: build, inspect, check, run and push, with docker, podman or buildah."""
