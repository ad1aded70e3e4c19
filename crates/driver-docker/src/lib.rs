//! The container driver contract on the Docker Engine API (Docker and Podman).
